"""The format of manual pages (man(7)): text with its special characters escaped, paragraphs, and lists."""

from __future__ import annotations

import re
import textwrap

_WIDTH = 78
"""Characters of a line of input; mandoc warns of those longer than 80."""
_ESCAPES = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"})
_QUOTED = re.compile(r"`([^`]+)`")
_KEPT = "\b\n"
"""The beginning of a paragraph whose lines are kept as they are, as in click's help."""


def escaped(text: str) -> str:
    """Return *text* with every character that has a meaning in roff escaped."""
    return text.translate(_ESCAPES)


def bold(text: str) -> str:
    """Return *text* in bold."""
    return f"\\fB{escaped(text)}\\fR"


def _inline(text: str) -> str:
    """Return a text in which words between backticks are commands, which become bold."""
    parts = _QUOTED.split(text)
    return "".join(bold(part) if at % 2 else escaped(part) for at, part in enumerate(parts))


def _guarded(line: str) -> str:
    """Return a line of text that is not read as a request, although it may begin with a dot or a quote."""
    return f"\\&{line}" if line.startswith((".", "'")) else line


def filled(text: str) -> str:
    """Return a paragraph as lines of input."""
    lines = textwrap.wrap(_inline(" ".join(text.split())), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "".join(f"{_guarded(line)}\n" for line in lines)


def paragraphs(text: str) -> str:
    """Return the paragraphs of a help text."""
    found = []
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        if part.startswith(_KEPT):
            lines = [_guarded(_inline(line.rstrip())) for line in part.removeprefix(_KEPT).splitlines()]
            found.append(".nf\n" + "".join(f"{line}\n" for line in lines) + ".fi\n")
        elif part.strip():
            found.append(filled(part))
    return ".PP\n".join(found)


def example(lines: list[str]) -> str:
    """Return command lines as they are typed."""
    return ".EX\n" + "".join(f"{_guarded(escaped(line))}\n" for line in lines) + ".EE\n"


def definitions(rows: list[tuple[str, str]]) -> str:
    """Return a list of terms, already formatted, each with its description."""
    return "".join(f".TP\n{_guarded(term)}\n{filled(text) or chr(92) + '&' + chr(10)}" for term, text in rows)


def section(title: str, body: str) -> str:
    """Return a section; nothing if it is empty."""
    quoted = f'"{title}"' if " " in title else title
    return f".SH {quoted}\n{body}" if body else ""
