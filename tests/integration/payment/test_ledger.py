"""The database itself keeps the ledger: balanced, append-only, apart by tenant, never backwards."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.databases import NewDatabase, Urls
from tests.ports.payment.fakes import TENANT, USER, VENDOR, booking_id

START = "SELECT payment_id FROM payment_start(%s, %s::jsonb)"


@pytest.fixture(scope="module")
def urls(new_database: NewDatabase) -> Urls:
    return new_database("payment")


@pytest.fixture
def app(urls: Urls) -> Iterator[psycopg.Connection]:
    """A connection of the service's role, bound to a tenant, with a payment of 150.00 EUR that is captured."""
    with psycopg.connect(urls.app) as connection:
        connection.execute("SELECT set_config('berth.tenant', %s, false)", (TENANT,))
        booking = booking_id()
        connection.execute("INSERT INTO booking_payments (booking_id, tenant_id) VALUES (%s, %s)", (booking, TENANT))
        connection.execute(
            "INSERT INTO payments (payment_id, tenant_id, booking_id, step, user_id, vendor_id, currency,"
            " amount_minor, captured_minor, manual_capture, status, attempt_time, create_time, update_time, version)"
            " VALUES (%s, %s, %s, 'book', %s, %s, 'EUR', 15000, 15000, false, 'SUCCEEDED', now(), now(), now(), 2)",
            (booking.replace("bkg", "pay"), TENANT, booking, USER, VENDOR),
        )
        for account, kind, vendor in (("clearing", "PROVIDER_CLEARING", ""), ("payable", "VENDOR_PAYABLE", VENDOR)):
            connection.execute(
                "INSERT INTO accounts VALUES (%s, %s, %s, %s, 'EUR') ON CONFLICT DO NOTHING",
                (account, TENANT, kind, vendor),
            )
        connection.commit()
        yield connection
        connection.rollback()


def enter(connection: psycopg.Connection, *lines: tuple[str, str, int]) -> int:
    (payment_id,) = (
        connection.execute("SELECT payment_id FROM payments ORDER BY create_time DESC LIMIT 1").fetchone() or ()
    )
    (entry_id,) = (
        connection.execute(
            "INSERT INTO journal_entries (tenant_id, kind, booking_id, payment_id, entry_time)"
            " VALUES (%s, 'CAPTURE', 'bkg_1', %s, now()) RETURNING entry_id",
            (TENANT, payment_id),
        ).fetchone()
        or ()
    )
    if lines:
        accounts, currencies, amounts = (list(column) for column in zip(*lines, strict=True))
        connection.execute(
            "INSERT INTO postings SELECT %s, account, %s, currency, amount"
            " FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS lines (account, currency, amount)",
            (entry_id, TENANT, accounts, currencies, amounts),
        )
    return int(entry_id)


@pytest.mark.parametrize(
    "lines",
    [
        [("clearing", "EUR", 100), ("payable", "EUR", -99)],
        [("clearing", "EUR", 100), ("payable", "USD", -100)],
        [("clearing", "EUR", 100)],
    ],
)
def test_an_entry_that_does_not_balance_is_refused(app: psycopg.Connection, lines: list[tuple[str, str, int]]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="does not balance"):
        enter(app, *lines)


def test_an_entry_without_lines_is_refused_at_commit(app: psycopg.Connection) -> None:
    enter(app)
    with pytest.raises(psycopg.errors.CheckViolation, match="it has no lines"):
        app.commit()


@pytest.mark.parametrize(("account", "currency"), [("nobody's", "EUR"), ("clearing", "USD"), ("theirs", "EUR")])
def test_only_accounts_of_the_tenant_and_the_currency_are_moved(
    app: psycopg.Connection, urls: Urls, account: str, currency: str
) -> None:
    with psycopg.connect(urls.superuser) as superuser:
        superuser.execute(
            "INSERT INTO accounts VALUES ('theirs', 'ten_other', 'PROVIDER_CLEARING', '', 'EUR') ON CONFLICT DO NOTHING"
        )
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="no account of its tenant and currency"):
        enter(app, (account, currency, 100), ("payable", currency, -100))


def test_a_balanced_entry_stays_as_it_is(app: psycopg.Connection) -> None:
    entry_id = enter(app, ("clearing", "EUR", 100), ("payable", "EUR", -100))
    app.commit()
    for statement in (
        "UPDATE postings SET amount_minor = 1 WHERE entry_id = %s",
        "DELETE FROM postings WHERE entry_id = %s",
        "DELETE FROM journal_entries WHERE entry_id = %s",
        "DELETE FROM accounts WHERE account_id IN (SELECT account_id FROM postings WHERE entry_id = %s)",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            app.execute(statement, (entry_id,))
        app.rollback()
    app.execute("SELECT set_config('berth.tenant', %s, false)", (TENANT,))
    app.execute(
        "INSERT INTO accounts VALUES ('fees', %s, 'PROVIDER_FEES', '', 'EUR') ON CONFLICT DO NOTHING", (TENANT,)
    )
    with pytest.raises(psycopg.errors.CheckViolation, match="does not balance"):
        app.execute("INSERT INTO postings VALUES (%s, 'fees', %s, 'EUR', 5)", (entry_id, TENANT))


def test_each_kind_of_entry_is_made_once(app: psycopg.Connection) -> None:
    enter(app, ("clearing", "EUR", 100), ("payable", "EUR", -100))
    with pytest.raises(psycopg.errors.UniqueViolation, match="journal_entries_once"):
        enter(app, ("clearing", "EUR", 100), ("payable", "EUR", -100))


@pytest.mark.parametrize(
    "change",
    [
        "captured_minor = 14999",
        "status = 'CANCELLED'",
        "version = 1",
        "refunded_minor = 15001",
        "refunded_minor = -1",
    ],
)
def test_a_payment_never_goes_backwards(app: psycopg.Connection, change: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        app.execute(
            f"UPDATE payments SET {change} WHERE create_time = (SELECT max(create_time) FROM payments)".encode()
        )


def test_without_a_tenant_nothing_is_seen_or_written(urls: Urls, app: psycopg.Connection) -> None:
    with psycopg.connect(urls.app) as nobody:
        for table in ("booking_payments", "payments", "refunds", "accounts", "journal_entries", "postings"):
            assert nobody.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,)
        assert nobody.execute("SELECT count(*) FROM account_balances").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            nobody.execute("INSERT INTO booking_payments (booking_id, tenant_id) VALUES ('bkg_x', %s)", (TENANT,))
    with psycopg.connect(urls.worker) as worker:
        assert worker.execute("SELECT count(*) > 0 FROM payments").fetchone() == (True,)


def test_another_tenants_booking_is_not_there(urls: Urls, app: psycopg.Connection) -> None:
    (booking,) = app.execute("SELECT booking_id FROM payments LIMIT 1").fetchone() or ()
    row = f'{{"payment_id": "pay_foreign", "booking_id": "{booking}", "step": "book"}}'
    with psycopg.connect(urls.app) as stranger:
        assert stranger.execute(START, ("ten_other", row)).fetchone() is None
