"""Every error reason has a meaning on the wire, and every reason that a comment promises exists."""

import re

import grpc

from gateway.comments import comments
from gateway.contract import Contract
from gateway.reasons import Reason, errors_named, reasons


def test_every_reason_has_a_code(contract: Contract) -> None:
    codes = {code.name for code in grpc.StatusCode} - {"OK", "UNKNOWN", "CANCELLED", "DATA_LOSS"}
    wrong = [reason.name for reason in reasons(contract) if reason.code not in codes]
    assert wrong == []
    assert len(reasons(contract)) > 25


def test_metadata_keys_are_named_and_sorted(contract: Contract) -> None:
    def good(reason: Reason) -> bool:
        keys = list(reason.metadata)
        return keys == sorted(set(keys)) and all(re.fullmatch("[a-z][a-zA-Z]{0,63}", key) for key in keys)

    assert [reason.name for reason in reasons(contract) if not good(reason)] == []


def test_a_reason_means_one_thing_everywhere(contract: Contract) -> None:
    # Callers know a reason by its name: whichever service says it, the code is the same.
    codes: dict[str, set[str]] = {}
    for reason in reasons(contract):
        codes.setdefault(reason.name, set()).add(reason.code)
    assert [name for name, several in codes.items() if len(several) > 1] == []


def test_the_errors_that_comments_name_exist(contract: Contract) -> None:
    known: dict[str, set[str]] = {}
    for reason in reasons(contract):
        known.setdefault(reason.owner, set()).add(reason.name)
    texts = comments(contract.files)
    missing = [
        f"{method.path}: {name}"
        for method in contract.methods
        for name in errors_named(texts[f"{method.service}.{method.name}"])
        if name not in known["type"] | known.get(method.owner, set())
    ]
    assert missing == []
