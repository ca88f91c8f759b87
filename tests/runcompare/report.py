"""The comparison as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runcompare import verdict
from runcompare.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from runcompare.row import Row

_MOST = 300


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return one line with the counts and the ratio."""
    parts = ", ".join(f"{number} {name}" for name, number in verdict.counts(verdicts).items())
    return f"{len(verdicts)} rows: {parts}; {verdict.ratio(verdicts):.1%} are equal"


def table(verdicts: Sequence[Verdict], versions: Sequence[str]) -> str:
    """Return the versions, the counts by theme, and for each theme rows that are not equal, and the others' names."""
    lines = [f"Versions: {'; '.join(versions)}.", "", f"**{summary(verdict.counted(verdicts))}.**", ""]
    if apart := [one for one in verdicts if one not in verdict.counted(verdicts)]:
        count = len({one.row.theme for one in apart})
        lines += [f"The last {count} themes are counted apart: {summary(apart)}. All: {summary(verdicts)}.", ""]
    names = (verdict.EQUAL, verdict.EXPLAINED, verdict.DIFFERENT, verdict.MISSING)
    lines += ["| theme | rows | " + " | ".join(names) + " |", "|---|" + "---:|" * (len(names) + 1)]
    themes = list(dict.fromkeys(one.row.theme for one in verdicts))
    for theme in themes:
        chosen = [one for one in verdicts if one.row.theme == theme]
        counted = verdict.counts(chosen)
        lines.append(f"| {theme} | {len(chosen)} | " + " | ".join(str(counted[name]) for name in names) + " |")
    for theme in themes:
        lines += ["", f"## {theme[:1].upper()}{theme[1:]}", ""]
        lines += _theme([one for one in verdicts if one.row.theme == theme])
    return "\n".join(lines).rstrip() + "\n"


def read(text: str, rows: Sequence[Row]) -> Iterator[Verdict]:
    """Yield the verdicts that `table` has written into *text*, of those of *rows* that it has."""
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    for row in rows:
        section = sections.get(f"{row.theme[:1].upper()}{row.theme[1:]}", "")
        name = _code(row.name)
        for line in section.splitlines():
            if line.startswith(f"| {name} | "):
                _, judged, why = line.removeprefix(f"| {name}").removesuffix(" |").split(" | ", 2)
                yield Verdict(row, judged, why.replace("\\|", "|").replace("&lt;", "<"))
            elif f" {name}, " in line or f" {name}." in line:
                titles = {"Equal": verdict.EQUAL, "No such option": verdict.MISSING}
                yield Verdict(row, titles[line.partition(" (")[0]])


def merged(old: Iterable[Verdict], new: Sequence[Verdict], order: Sequence[Row]) -> list[Verdict]:
    """Return the verdicts *new*, and those of *old* whose rows are in *order* but not among these, in that order.

    The sections of the row without options, which every run has, are first.
    """
    keys = {row.key for row in order}
    known = {one.row.key: one for one in (*old, *new)}
    return [*(one for one in new if one.row.key not in keys), *(known[row.key] for row in order if row.key in known)]


def _theme(verdicts: Sequence[Verdict]) -> list[str]:
    lines = []
    rest = [one for one in verdicts if one.verdict not in (verdict.EQUAL, verdict.MISSING)]
    if rest:
        lines += ["| row | verdict | why |", "|---|---|---|"]
        lines += [f"| {_code(one.row.name)} | {one.verdict} | {_cell(one.why)} |" for one in rest]
        lines.append("")
    for name, title in ((verdict.MISSING, "No such option"), (verdict.EQUAL, "Equal")):
        chosen = [_code(one.row.name) for one in verdicts if one.verdict == name]
        if chosen:
            lines += [f"{title} ({len(chosen)}): {', '.join(chosen)}.", ""]
    return lines[:-1]


def _code(text: str) -> str:
    return f"`{_escaped(text)}`"


def _cell(text: str) -> str:
    return _escaped(text if len(text) <= _MOST else text[: _MOST - 1] + "…")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
