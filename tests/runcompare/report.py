"""The comparison as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runcompare import verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runcompare.verdict import Verdict

_MOST = 300


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return one line with the counts and the ratio."""
    parts = ", ".join(f"{number} {name}" for name, number in verdict.counts(verdicts).items())
    return f"{len(verdicts)} rows: {parts}; {verdict.ratio(verdicts):.1%} are equal"


def table(verdicts: Sequence[Verdict], versions: Sequence[str]) -> str:
    """Return the versions, the counts by theme, and for each theme rows that are not equal, and the others' names."""
    lines = [f"Versions: {'; '.join(versions)}.", "", f"**{summary(verdicts)}.**", ""]
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
