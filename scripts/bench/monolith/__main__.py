"""Owns the monolith's start: uvicorn on uvloop and httptools."""

from __future__ import annotations

import argparse

import uvicorn


def main() -> None:
    """Entry: serves until it is told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    uvicorn.run(
        "scripts.bench.monolith.app:create_app",
        factory=True,
        host="127.0.0.1",
        port=given.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_level="info",
    )


if __name__ == "__main__":
    main()
