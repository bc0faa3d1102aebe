"""Owns what the auditor answers: for each invariant how many cases were looked at, and which of them break it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scripts.audit.sources import Sources


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise: about what, and how."""

    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one invariant's check has seen."""

    examined: int
    violations: Sequence[Violation]


@dataclass(frozen=True, slots=True)
class Invariant:
    """One promise, by its number in the product's list."""

    number: str
    promise: str
    check: Callable[[Sources], Reading]
