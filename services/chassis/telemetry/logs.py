"""Structured logs: one JSON object a line, with secrets and personal data taken out whoever put them in."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

REDACTED = "[redacted]"
MAX_LINE = 16_384  # characters

# What the standard library puts on every record; all else was given by the caller.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_SECRET_NAMES = re.compile(
    r"(?:^|_)(?:authorization|cookie|credential|email|otp|passw(?:or)?d|phone|secret|signature|token|url)s?(?:$|_)"
    r"|api_key|master_key|client_secret",
    re.IGNORECASE,
)
# Each pattern with texts of which one must be there for it to match: most lines have none, and searching for them costs
# a hundredth of what the patterns do.
_SECRET_TEXTS: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    # User and password in a URL, before what follows could take them for an address.
    (("://",), re.compile(r"(?<=://)[^\s/@:\"]*:[^\s/@\"]+(?=@)")),
    # E-mail addresses.
    (("@",), re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")),
    # JSON web tokens.
    (("eyJ",), re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")),
    # A payment provider's keys, and the secrets that its clients use.
    (
        ("_test_", "_live_", "_secret_", "whsec_"),
        re.compile(r"\b(?:[a-z]{2,8}_(?:test|live)_|whsec_)\w+|\b\w+_secret_\w+"),
    ),
    # Authorization headers.
    (("earer ", "asic ", "EARER ", "ASIC "), re.compile(r"(?i:(?<=bearer )|(?<=basic ))[A-Za-z0-9+/=._~-]{8,}")),
)

_encode = json.JSONEncoder(default=str, ensure_ascii=False).encode


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD and value not in ("", None):
                line[name] = REDACTED if _is_secret(name) else value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return redact(_encode(line))[:MAX_LINE]


def redact(text: str) -> str:
    """The text without what looks like a secret or like somebody's address."""
    for signs, pattern in _SECRET_TEXTS:
        if any(sign in text for sign in signs):
            text = pattern.sub(REDACTED, text)
    return text


@lru_cache(maxsize=1_024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def set_up(service: str, level: str) -> None:
    """Make every log of this process such a line on standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # These tell at INFO what we tell better, or what nobody needs.
    for chatty in ("aiokafka", "alembic", "asyncio", "sqlalchemy", "stripe", "urllib3", "httpx"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # A stranger's header in no known letters is no event, and its bytes are nothing to keep.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_news)
    # What is only kept for records that nobody prints costs on each one.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - the documented way not to look for callers


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Invalid encoding on")
