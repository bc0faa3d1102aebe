"""Owns the verdict on a history: does any order of single steps, each inside its own call, explain every answer?

The search is Wing and Gong's with a memory of visited configurations. What makes it quick here: a refusal changes
nothing, so it is placed as soon as it is legal; only takes and frees branch.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from scripts.history.record import Kind, Operation, Outcome

SEARCH_STEPS_MAX = 2_000_000
"""How many configurations are looked at before the checker says that it does not know."""


class Verdict(StrEnum):
    """What the checker found."""

    EXPLAINED = "explained"
    IMPOSSIBLE = "impossible"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and, where it is not EXPLAINED, the sentence that a person needs."""

    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Step:
    """One atomic change (or observation) that lies somewhere in [earliest, latest]."""

    name: str
    kind: Kind
    cells: tuple[str, ...]
    quantity: int
    earliest: float
    latest: float
    refused: bool = False
    optional: bool = False
    after: int = -1
    """Index of the step that must come first, e.g. the take that a free ends; -1 for none."""
    undoes: bool = False
    """A failed take's own free: optional only when the take itself never happened."""


def check(operations: Iterable[Operation], capacity: Mapping[str, int]) -> Finding:
    """Checks a history against the capacity of every cell that it touches."""
    ordered = sorted(operations, key=lambda operation: operation.invoked)
    malformed = _malformed(ordered, capacity)
    if malformed:
        return Finding(Verdict.IMPOSSIBLE, malformed)
    verdicts = [_search(_steps(group), capacity) for group in _independent(ordered)]
    for wanted in (Verdict.IMPOSSIBLE, Verdict.UNDECIDED):
        for finding in verdicts:
            if finding.verdict is wanted:
                return finding
    return Finding(Verdict.EXPLAINED)


def _malformed(operations: Sequence[Operation], capacity: Mapping[str, int]) -> str:
    taken: set[str] = set()
    for operation in operations:
        if operation.answered < operation.invoked:
            return f"{operation.name} was answered before it was asked"
        if operation.kind is Kind.TAKE and operation.name in taken:
            return f"{operation.name} was taken by two calls: one name is one take"
        if operation.kind is Kind.TAKE:
            taken.add(operation.name)
        elif operation.name not in taken:
            return f"{operation.name} was freed but never taken"
        missing = [cell for cell in operation.cells if cell not in capacity]
        if missing:
            return f"the capacity of {missing[0]} is not known"
    return ""


def _independent(operations: Sequence[Operation]) -> list[list[Operation]]:
    """Splits a history into groups that share no cell, which can be explained apart."""
    parent: dict[str, str] = {}

    def root(cell: str) -> str:
        while parent.setdefault(cell, cell) != cell:
            cell = parent[cell]
        return cell

    for operation in operations:
        for cell in operation.cells[1:]:
            parent[root(cell)] = root(operation.cells[0])
    groups: dict[str, list[Operation]] = {}
    for operation in operations:
        groups.setdefault(root(operation.cells[0]), []).append(operation)
    return list(groups.values())


def _steps(operations: Sequence[Operation]) -> list[_Step]:
    steps: list[_Step] = []
    takes: dict[str, int] = {}

    def add(
        operation: Operation,
        kind: Kind,
        latest: float,
        *,
        optional: bool = False,
        after: int = -1,
        undoes: bool = False,
    ) -> int:
        refused = operation.outcome is Outcome.REFUSED
        steps.append(
            _Step(
                operation.name,
                kind,
                operation.cells,
                operation.quantity,
                operation.invoked,
                latest,
                refused,
                optional,
                after,
                undoes,
            )
        )
        return len(steps) - 1

    for operation in operations:
        unknown = operation.outcome is Outcome.UNKNOWN
        latest = math.inf if unknown else operation.answered
        if operation.kind is Kind.FREE:
            add(operation, Kind.FREE, latest, optional=unknown, after=takes[operation.name])
            continue
        if operation.outcome is Outcome.FAILED:
            # Kept for a while, perhaps, and given back before the answer: two optional steps in this order.
            first = add(operation, Kind.TAKE, latest, optional=True)
            add(operation, Kind.FREE, latest, optional=True, after=first, undoes=True)
            continue
        takes[operation.name] = add(operation, Kind.TAKE, latest, optional=unknown)
    return steps


class _Search:
    """Depth-first over configurations: which steps are placed, and which of the optional ones took effect."""

    def __init__(self, steps: Sequence[_Step], capacity: Mapping[str, int]) -> None:
        self.steps = steps
        self.capacity = capacity
        self.used: Counter[str] = Counter()
        self.placed: set[int] = set()
        self.live: set[int] = set()
        self.seen: set[tuple[frozenset[int], frozenset[int]]] = set()
        self.deepest: int = -1
        self.stuck: _Step | None = None

    def fits(self, step: _Step) -> bool:
        return all(self.used[cell] + step.quantity <= self.capacity[cell] for cell in step.cells)

    def legal(self, index: int) -> bool:
        step = self.steps[index]
        if step.after >= 0 and step.after not in self.placed:
            return False
        if step.kind is Kind.FREE:
            return step.after in self.live or step.optional
        return self.fits(step) != step.refused

    def candidates(self) -> list[int]:
        """The steps that may come next: none that had to end before it is still missing."""
        open_steps = [index for index in range(len(self.steps)) if index not in self.placed]
        horizon = min((self.steps[index].latest for index in open_steps), default=math.inf)
        return [index for index in open_steps if self.steps[index].earliest <= horizon]

    def place(self, index: int) -> None:
        step = self.steps[index]
        self.placed.add(index)
        if step.refused:
            return
        if step.kind is Kind.TAKE:
            self.live.add(index)
            self.used.update(dict.fromkeys(step.cells, step.quantity))
        elif step.after in self.live:
            self.live.discard(step.after)
            self.used.subtract(dict.fromkeys(step.cells, step.quantity))

    def remove(self, index: int, was_live: frozenset[int]) -> None:
        step = self.steps[index]
        self.placed.discard(index)
        if step.refused:
            return
        if step.kind is Kind.TAKE and index in self.live:
            self.used.subtract(dict.fromkeys(step.cells, step.quantity))
        elif step.kind is Kind.FREE and step.after in was_live and step.after not in self.live:
            self.used.update(dict.fromkeys(step.cells, step.quantity))
        self.live = set(was_live)


def _search(steps: Sequence[_Step], capacity: Mapping[str, int]) -> Finding:
    search = _Search(steps, capacity)
    # Each frame: the choices still open there, and how to undo the one being tried (index, live before, skipped).
    stack: list[tuple[list[tuple[int, bool]], list[tuple[int, frozenset[int]]]]] = [(_choices(search), [])]
    looked_at = 0
    while stack:
        choices, undo = stack[-1]
        while undo:
            search.remove(*undo.pop())
        if len(search.placed) == len(steps):
            return Finding(Verdict.EXPLAINED)
        if not choices:
            stack.pop()
            continue
        index, effective = choices.pop()
        undo.append((index, frozenset(search.live)))
        if effective:
            search.place(index)
        else:
            search.placed.add(index)
        looked_at += 1
        if looked_at > SEARCH_STEPS_MAX:
            return Finding(Verdict.UNDECIDED, f"gave up after {SEARCH_STEPS_MAX} configurations")
        configuration = (frozenset(search.placed), frozenset(search.live))
        if configuration in search.seen:
            continue
        search.seen.add(configuration)
        if len(search.placed) == len(steps):
            return Finding(Verdict.EXPLAINED)
        _remember_deepest(search)
        stack.append((_choices(search), []))
    return Finding(Verdict.IMPOSSIBLE, _explain(search))


def _choices(search: _Search) -> list[tuple[int, bool]]:
    """What to try next, the last first. One legal refusal is enough: it changes nothing and can only be in the way."""
    candidates = search.candidates()
    for index in candidates:
        if search.steps[index].refused and search.legal(index):
            return [(index, True)]
    choices: list[tuple[int, bool]] = []
    for index in sorted(candidates, key=lambda index: search.steps[index].latest, reverse=True):
        step = search.steps[index]
        if step.refused:
            continue
        if step.optional and not (step.undoes and (step.after in search.live or step.after not in search.placed)):
            choices.append((index, False))
        if search.legal(index):
            choices.append((index, True))
    return choices


def _remember_deepest(search: _Search) -> None:
    if len(search.placed) <= search.deepest:
        return
    search.deepest = len(search.placed)
    waiting = [index for index in search.candidates() if not search.legal(index)]
    search.stuck = search.steps[waiting[0]] if waiting else None


def _explain(search: _Search) -> str:
    step = search.stuck
    if step is None:
        return "no order of the calls explains the answers"
    what = "was refused although units must have been free" if step.refused else "cannot have taken effect"
    if step.kind is Kind.TAKE and not step.refused:
        what = "was granted although no unit can have been free"
    return f"{step.name} on {', '.join(step.cells)} {what}"
