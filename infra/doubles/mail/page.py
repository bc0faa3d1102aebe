"""Owns the catcher's page: the newest messages, with nothing of it trusted."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from infra.doubles.mail.store import Caught

# No script, no image, no frame runs: a message's HTML is shown as its source, never rendered.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "article{border-top:1px solid #ccc;padding:1rem 0}h2{font-size:1rem;margin:0}"
    "small{color:#555}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f6f6f6;padding:.75rem}"
)


def page(messages: Iterable[Caught]) -> str:
    """The whole page."""
    shown = "".join(_article(message) for message in messages) or "<p>Nothing caught yet.</p>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Caught mail</title>'
        f"<style>{_STYLE}</style></head><body><h1>Caught mail</h1>"
        f'<p>Nothing here was delivered. The same as JSON: <a href="/messages">/messages</a></p>{shown}</body></html>'
    )


def _article(message: Caught) -> str:
    source = f"<details><summary>HTML, as source</summary><pre>{escape(message.html)}</pre></details>"
    return (
        f'<article id="{message.id}"><h2>{escape(message.subject) or "(no subject)"}</h2>'
        f"<small>{escape(message.received_at)} · from {escape(message.sender)}"
        f" · to {escape(', '.join(message.recipients))}</small>"
        f"<pre>{escape(message.text)}</pre>{source if message.html else ''}</article>"
    )
