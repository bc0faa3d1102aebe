"""What a PostgreSQL error means to us: try again, the database is out, out of time, or a bug."""

from __future__ import annotations

from datetime import timedelta

import psycopg
from psycopg import errors as pg
from psycopg_pool import PoolTimeout, TooManyRequests
from sqlalchemy.exc import DBAPIError

from services.chassis.errors import DeadlineExceeded, DependencyUnavailable, Refusal

RETRY_AFTER_OUTAGE = timedelta(seconds=1)

# The transaction was rolled back through no fault of its statements; run again, it can succeed.
_PASSING = (pg.SerializationFailure, pg.DeadlockDetected, pg.LockNotAvailable)

# The server is stopping, starting, full, or cut the connection.
_OUT = (
    pg.AdminShutdown,
    pg.CrashShutdown,
    pg.CannotConnectNow,
    pg.DatabaseDropped,
    pg.IdleInTransactionSessionTimeout,
    pg.TooManyConnections,
    pg.ConnectionTimeout,
    PoolTimeout,
    TooManyRequests,
)


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error, from inside SQLAlchemy's wrapping where there is one."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return error.orig
    return error


def is_passing(error: BaseException) -> bool:
    """Whether the same transaction, run again, may succeed."""
    return isinstance(driver_error(error), _PASSING)


def refusal_for(error: BaseException) -> Refusal | None:
    """What the caller is told when the database is out or too slow; None where the error is something else."""
    cause = driver_error(error)
    if isinstance(cause, pg.QueryCanceled):
        return DeadlineExceeded()
    if isinstance(cause, _OUT) or _lost_connection(cause):
        return DependencyUnavailable("The database does not answer.", retry_after=RETRY_AFTER_OUTAGE)
    return None


def _lost_connection(error: BaseException) -> bool:
    # A connection that breaks has no SQLSTATE: the server had no time to send one.
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and error.sqlstate is None
