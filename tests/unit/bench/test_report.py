"""Owns the proof of what the bench says: lines, costs, ratios with their goals, and what a profile is made of."""

from __future__ import annotations

from dataclasses import replace

from scripts.bench.pace import Window
from scripts.bench.profile import weigh
from scripts.bench.table import LOAD, Line, Ratio, Report, aligned


def line(name: str, audit: int | None = 0) -> Line:
    return Line(name, 100.0, 1, (1.0, 2.0, 3.0), audit, "so", {"booking": 2.0, "zebra": 1.0, LOAD: 9.0})


def test_the_generators_own_work_is_nobodys_cost() -> None:
    assert line("a").cpu_total == 3.0


def test_a_goal_is_met_from_its_own_side() -> None:
    assert Ratio("hot", 0.7, 0.7).met
    assert not Ratio("hot", 0.69, 0.7).met
    assert Ratio("late", 500.0, 500.0, at_least=False).met
    assert not Ratio("late", 501.0, 500.0, at_least=False).met


def test_violations_add_up_and_what_was_not_audited_has_none() -> None:
    assert Report(lines=[line("a", 2), line("b", None), line("c", 3)]).violations == 5


def test_the_table_says_everything_once() -> None:
    report = Report([line("a")], [Ratio("hot", 0.5, 0.7)], {"booking": 1.25}, {"booking": 3 * 1024 * 1024})
    loads, costs, ratios, standing = report.text().split("\n\n")
    assert loads.splitlines()[1].split() == ["a", "100.0", "1.0", "2.0", "3.0", "1", "0", "3.00", "so"]
    assert [row.split()[0] for row in costs.splitlines()[1:]] == ["booking", "zebra", "load", "all"]
    assert ratios.splitlines()[1].split() == ["hot", "0.50", "≥", "0.7", "missed"]
    assert standing.splitlines()[1].split() == ["booking", "1.2", "3"]


def test_a_long_loads_course_stands_beside_the_machines_pace() -> None:
    course = [Window(10.0 * number, 200.0, 300.0, 3.0) for number in range(6)]
    long, short = replace(line("long"), course=course), replace(line("short"), course=course[:5])
    _, shown, *_ = Report([long, short]).text().split("\n\n")
    rows = [row.split() for row in shown.splitlines()]
    assert rows[0] == ["long,", "from", "second", "p50", "ms", "p95", "ms", "a", "loop", "took", "ms"]
    assert rows[1:] == [[str(10 * number), "200", "300", "3.00"] for number in range(6)]
    assert "short, from second" not in Report([long, short]).text()


def test_an_empty_report_is_empty() -> None:
    assert Report().text() == ""


def test_columns_stand_under_each_other() -> None:
    assert aligned([["a", "1"], ["bcd", "20"]]) == "a     1\nbcd  20"


def test_a_sample_counts_where_it_was_spent_and_for_each_of_our_functions_once() -> None:
    folded = [
        "run (services/chassis/service.py:9);book (services/booking/rpc.py:1);execute (psycopg/cursor.py:5) 3",
        "run (services/chassis/service.py:9);book (services/booking/rpc.py:1);book (services/booking/rpc.py:2) 1",
        "bound (services/chassis/rpc/interceptors/boundary.py:3) 1",
    ]
    rooms, functions, total = weigh(folded)
    assert total == 5
    assert dict(rooms) == {"psycopg": 3, "service rpc": 1, "interceptor boundary": 1}
    assert dict(functions) == {"run (services/chassis/service.py)": 4, "book (services/booking/rpc.py)": 4}
