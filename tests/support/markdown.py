"""Pages of the documentation as their readers see them: sections, code, links, anchors.

Not in scope: what a whole parser of Markdown knows, such as reference links or headings that are underlined.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from support.cli import REPOSITORY

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$\n?", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?<=\n\n)(?:(?: {4}.*)?\n)+")
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
_LINK = re.compile(r"\[((?:[^][]|\[[^]]*\])*)\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)\)")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def pages() -> list[Path]:
    """All pages of the checkout."""
    return sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])


def page(name: str) -> str:
    """The text of a page of the checkout."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Section:
    """A heading (level 0 and "" for what is above the first one), and the text up to the next heading."""

    level: int
    heading: str
    text: str

    @property
    def fences(self) -> list[tuple[str, str]]:
        """The language and the content of each fenced block of code."""
        return _FENCE.findall(self.text)

    @property
    def prose(self) -> str:
        """The heading and the text without blocks of code and comments."""
        return f"{self.heading}\n\n{_COMMENT.sub('', _FENCE.sub('', self.text))}"

    @property
    def code(self) -> Counter[str]:
        """The code within the prose."""
        return Counter(" ".join(code.split()) for code in re.findall(r"`([^`]+)`", self.prose))

    @property
    def links(self) -> list[str]:
        """The targets of the links, sorted."""
        return sorted(links(self.prose))

    @property
    def words(self) -> str:
        """The prose without code and targets of links."""
        return _LINK.sub(r"\1", re.sub(r"`[^`]+`", "`", self.prose))

    @property
    def numbers(self) -> Counter[str]:
        """The numbers within the prose."""
        return Counter(_NUMBER.findall(self.words))

    @property
    def shape(self) -> list[str]:
        """Each block of the prose: a paragraph, a list with its items, a table with the cells of its rows."""
        return [_shape(block) for block in re.split(r"\n\s*\n", self.prose.strip())[1:] if block.strip()]


def sections(text: str) -> list[Section]:
    """The sections of a page in order."""
    found, start, level, heading = [], 0, 0, ""
    hidden = [match.span() for match in _FENCE.finditer(text)]
    for match in re.finditer(r"^(#{1,6}) +(.+?) *#*$\n?", text, re.MULTILINE):
        if any(first <= match.start() < last for first, last in hidden):
            continue
        found.append(Section(level, heading, text[start : match.start()]))
        start, level, heading = match.end(), len(match[1]), match[2]
    return [*found, Section(level, heading, text[start:])]


def links(prose: str) -> list[str]:
    """The targets of all links and pictures in *prose*, which has no blocks of code."""
    return [target for _, target in _LINK.findall(re.sub(r"`[^`\n]*(?:\n[^`\n]+)?`", "`", prose))]


def linked(text: str) -> list[str]:
    """The targets of all links of a page."""
    return links(_INDENTED.sub("", _FENCE.sub("", text)))


def anchors(text: str) -> set[str]:
    """The fragments that lead to a heading of the page, as GitHub makes them."""
    found: Counter[str] = Counter()
    for section in sections(text):
        plain = _LINK.sub(r"\1", section.heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found[slug] += 1
    repeated = {f"{slug}-{number}" for slug, count in found.items() for number in range(1, count)}
    return {*found, *repeated, *re.findall(r'<a (?:id|name)="([^"]+)"', text)}


def _shape(block: str) -> str:
    lines = block.splitlines()
    if lines[0].startswith("|"):
        rows = [line.replace("\\|", "").count("|") - 1 for line in lines if line.startswith("|")]
        return f"table {rows}"
    if re.match(r"([-*]|\d+\.) ", lines[0]):
        return f"list {sum(bool(re.match(r'([-*]|[0-9]+[.]) ', line)) for line in lines)}"
    return "paragraph"
