"""The event loop's turns, for tests of what waits for each other."""

import asyncio


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)
