"""What PostgreSQL's errors mean, and the row security's DDL."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors as pg
from psycopg_pool import PoolTimeout
from sqlalchemy.exc import DBAPIError

from services.chassis.db.faults import is_passing, refusal_for
from services.chassis.db.rls import tenant_policy
from services.chassis.errors import DeadlineExceeded, DependencyUnavailable


def wrapped(error: BaseException) -> DBAPIError:
    return DBAPIError("SELECT 1", {}, error)


@pytest.mark.parametrize("error", [pg.SerializationFailure(), pg.DeadlockDetected(), pg.LockNotAvailable()])
def test_these_pass_when_run_again(error: psycopg.Error) -> None:
    assert is_passing(error)
    assert is_passing(wrapped(error))
    assert refusal_for(error) is None


@pytest.mark.parametrize("error", [pg.ExclusionViolation(), pg.CheckViolation(), pg.UniqueViolation(), ValueError()])
def test_these_are_answers_or_bugs(error: Exception) -> None:
    assert not is_passing(error)
    assert refusal_for(error) is None


@pytest.mark.parametrize(
    "error",
    [
        pg.AdminShutdown(),
        pg.CannotConnectNow(),
        pg.TooManyConnections(),
        PoolTimeout(),
        psycopg.OperationalError("the connection is lost"),
        psycopg.InterfaceError("the connection is closed"),
    ],
)
def test_these_say_that_the_database_is_out(error: psycopg.Error) -> None:
    for found in (refusal_for(error), refusal_for(wrapped(error))):
        assert isinstance(found, DependencyUnavailable)
        assert found.retry_after is not None


def test_a_statement_cut_off_is_out_of_time() -> None:
    assert isinstance(refusal_for(wrapped(pg.QueryCanceled())), DeadlineExceeded)


def test_a_tenant_table_is_secured_for_reading_and_writing() -> None:
    enable, policy = tenant_policy("bookings")
    assert enable == "ALTER TABLE bookings ENABLE ROW LEVEL SECURITY"
    assert policy.count("tenant_id = current_setting('berth.tenant', true)") == 2


@pytest.mark.parametrize("name", ["a b", "x; DROP TABLE y", "", "Bookings", "public.bookings"])
def test_only_plain_names_are_put_into_ddl(name: str) -> None:
    with pytest.raises(ValueError, match="plain table name"):
        tenant_policy(name)
