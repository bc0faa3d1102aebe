"""Codes, sessions and counted attempts, as rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, case, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.auth.domain.attempts import Attempt, Count
from services.auth.domain.challenges import Challenge
from services.auth.domain.sessions import EndReason, Session
from services.auth.store.tables import attempts, challenges, sessions


class ChallengeRows:
    """The challenges port over one transaction."""

    def __init__(self, connection: AsyncConnection, tenant_id: str) -> None:
        self._connection = connection
        self._tenant_id = tenant_id

    async def get(self, challenge_id: str) -> Challenge | None:
        """One code."""
        query = select(challenges).where(
            challenges.c.tenant_id == self._tenant_id, challenges.c.challenge_id == challenge_id
        )
        row = (await self._connection.execute(query)).first()
        return _challenge_of(row) if row else None

    async def latest(self, user_id: str) -> Challenge | None:
        """The person's only code that was neither used nor replaced."""
        row = (await self._connection.execute(select(challenges).where(*self._open(user_id)).with_for_update())).first()
        return _challenge_of(row) if row else None

    async def add(self, challenge: Challenge) -> None:
        """Store a new code."""
        await self._connection.execute(
            insert(challenges).values(
                challenge_id=challenge.challenge_id,
                tenant_id=self._tenant_id,
                user_id=challenge.user_id,
                digest=challenge.digest,
                sealed=challenge.sealed,
                create_time=challenge.create_time,
                expire_time=challenge.expire_time,
            )
        )

    async def end(self, user_id: str, at: datetime) -> None:
        """Make all the person's codes void."""
        await self._connection.execute(update(challenges).where(*self._open(user_id)).values(end_time=at))

    def _open(self, user_id: str) -> tuple[Any, ...]:
        return (
            challenges.c.tenant_id == self._tenant_id,
            challenges.c.user_id == user_id,
            challenges.c.end_time.is_(None),
        )


class SessionRows:
    """The sessions port over one transaction."""

    def __init__(self, connection: AsyncConnection, tenant_id: str) -> None:
        self._connection = connection
        self._tenant_id = tenant_id

    async def get(self, session_id: str) -> Session | None:
        """One session, locked."""
        query = select(sessions).where(sessions.c.tenant_id == self._tenant_id, sessions.c.session_id == session_id)
        row = (await self._connection.execute(query.with_for_update())).first()
        return _session_of(row) if row else None

    async def add(self, session: Session) -> None:
        """Store a new session."""
        await self._connection.execute(
            insert(sessions).values(
                session_id=session.session_id,
                tenant_id=self._tenant_id,
                user_id=session.user_id,
                device_name=session.device_name,
                salt=session.salt,
                create_time=session.create_time,
                **_columns(session),
            )
        )

    async def save(self, session: Session) -> None:
        """Store what changed of a session."""
        mine = (sessions.c.tenant_id == self._tenant_id, sessions.c.session_id == session.session_id)
        await self._connection.execute(update(sessions).where(*mine).values(**_columns(session)))


class AttemptRows:
    """The attempts port over one transaction."""

    def __init__(self, connection: AsyncConnection, tenant_id: str) -> None:
        self._connection = connection
        self._tenant_id = tenant_id

    async def add(self, attempt: Attempt, subject: str, window: timedelta, at: datetime) -> Count:
        """Count one attempt; one statement, so that no two of them count the same."""
        first = upsert(attempts).values(
            tenant_id=self._tenant_id, attempt=attempt.value, subject=subject, count=1, window_start=at
        )
        passed = attempts.c.window_start <= at - window
        statement = first.on_conflict_do_update(
            index_elements=[attempts.c.tenant_id, attempts.c.attempt, attempts.c.subject],
            set_={
                "count": case((passed, 1), else_=attempts.c.count + 1),
                "window_start": case((passed, at), else_=attempts.c.window_start),
            },
        ).returning(attempts.c["count"], attempts.c.window_start)
        row = (await self._connection.execute(statement)).one()
        return Count(row[0], row[1])

    async def clear(self, attempt: Attempt, subject: str) -> None:
        """Forget the subject's attempts."""
        await self._connection.execute(
            delete(attempts).where(
                attempts.c.tenant_id == self._tenant_id,
                attempts.c.attempt == attempt.value,
                attempts.c.subject == subject,
            )
        )


def _columns(session: Session) -> dict[str, object]:
    return {
        "generation": session.generation,
        "rotate_time": session.rotate_time,
        "expire_time": session.expire_time,
        "end_time": session.end_time,
        "end_reason": session.end_reason.value if session.end_reason else None,
    }


def _challenge_of(row: Row[Any]) -> Challenge:
    return Challenge(
        challenge_id=row.challenge_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        digest=row.digest,
        sealed=row.sealed,
        create_time=row.create_time,
        expire_time=row.expire_time,
        end_time=row.end_time,
    )


def _session_of(row: Row[Any]) -> Session:
    return Session(
        session_id=row.session_id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        device_name=row.device_name,
        salt=row.salt,
        generation=row.generation,
        create_time=row.create_time,
        rotate_time=row.rotate_time,
        expire_time=row.expire_time,
        end_time=row.end_time,
        end_reason=EndReason(row.end_reason) if row.end_reason else None,
    )
