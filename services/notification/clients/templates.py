"""The words of messages, from files: `<language>/<kind>.txt`, whose first line is the title."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Final

from services.notification.domain import Text, clean

FOLDER: Final = Path(__file__).resolve().parents[1] / "templates"
FALLBACK: Final = "en"


class FileTemplates:
    """Reads every template once, at the start, so that a missing or broken one is found there."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._templates = {
            (path.parent.name, path.name): Template(path.read_text(encoding="utf-8"))
            for path in sorted(folder.glob("*/*"))
        }
        broken = [name for name, template in self._templates.items() if not template.is_valid()]
        if broken:
            raise ValueError(f"The template {'/'.join(broken[0])} has a $ that names nothing.")

    def fill(self, name: str, locale: str, values: Mapping[str, str]) -> Text:
        """A message's title and body; values are only ever words, whatever they contain."""
        title, _, body = self._find(locale, f"{name}.txt").substitute(values).partition("\n")
        return Text(clean(title), body.strip())

    def letter(self, text: Text, locale: str, values: Mapping[str, str]) -> tuple[str, str]:
        """The body inside a letter, as plain text and as HTML."""
        plain = self._find(locale, "letter.txt").substitute(values, body=text.body)
        paragraphs = [escape(part.strip()).replace("\n", "<br>\n") for part in text.body.split("\n\n")]
        html = self._find(locale, "letter.html").substitute(
            {name: escape(value) for name, value in values.items()},
            title=escape(text.title),
            body="\n".join(f"<p>{paragraph}</p>" for paragraph in paragraphs),
        )
        return plain, html

    def _find(self, locale: str, name: str) -> Template:
        language = locale.partition("-")[0].lower()
        return self._templates.get((language, name)) or self._templates[FALLBACK, name]
