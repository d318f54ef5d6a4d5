"""Reading a page as a browser would: its elements, what they load, and the text of its tables."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "img", "br", "wbr", "path", "input"}


@dataclass
class Page(HTMLParser):
    """Elements with their attributes in order; text by the element it stands in; rows of tables as text."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    rows: list[list[str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "small" and self.open[-2] in ("td", "th"):
            self.rows[-1][-1] += "\n"

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        while self.open and self.open.pop() != tag:
            continue

    def handle_data(self, data: str) -> None:
        if not self.open:
            return
        self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def parse(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    return page


def figures_of(html: str) -> dict[str, Any]:
    """The figures by the id of their box."""
    start = html.index('id="figures">') + len('id="figures">')
    found: dict[str, Any] = json.loads(html[start : html.index("</script>", start)])
    return found
