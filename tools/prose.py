#!/usr/bin/env python3
"""Look for the patterns of docs/design/style.md in documents, help, errors, docstrings and comments.

Prints `FILE:LINE: PATTERN: TEXT` for each place, and ends with status 1 if there is any. FILE... checks only these
files; --count prints the number for each file.

Code in documents (fences and backticks) and lines with the comment `prose: ok` are skipped. In code, the strings that
people read are checked: docstrings, arguments of errors, help of options, warnings, notes, printed text, and reasons to
skip a test.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parent.parent
STYLE = CHECKOUT / "docs" / "design" / "style.md"
FIRST_LINES = "^"
"""A pattern that begins with this is for the first lines of docstrings and help."""
SPOKEN = frozenset({"warn", "note", "report", "debug", "_say", "why_not", "print", "skip"})
"""Functions whose texts people read."""
SHOWN = frozenset({"help", "description", "epilog", "reason"})
"""Arguments by name that people read, of any function."""


class Text(NamedTuple):
    """Some text that people read: its line, and whether it is the beginning of a docstring."""

    path: Path
    line: int
    text: str
    is_first: bool = False


class Place(NamedTuple):
    """A pattern that was found."""

    path: Path
    line: int
    pattern: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.pattern}: {self.text.strip()}"


def patterns(style: str) -> list[re.Pattern[str]]:
    """The first column of the table of patterns in *style*, a document."""
    table = style.split("## Patterns to avoid", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `((?:[^`]|\\`)+)` \|", table, re.MULTILINE)
    return [re.compile(row.replace("\\|", "|")) for row in rows]


def texts(path: Path) -> Iterator[Text]:
    """The text of a file that people read, line by line."""
    source = path.read_text()
    yield from _document(path, source) if path.suffix == ".md" else _code(path, source)


def _document(path: Path, source: str) -> Iterator[Text]:
    is_code = False
    for number, line in enumerate(source.splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not (is_code or line.startswith("    ")):
            yield Text(path, number, re.sub(r"`[^`]*`", "`", line))


def _code(path: Path, source: str) -> Iterator[Text]:
    if path.suffix != ".py" and not source.startswith("#!/usr/bin/env python"):
        # A shell script: its comments.
        for number, line in enumerate(source.splitlines(), 1):
            if line.lstrip().startswith("#"):
                yield Text(path, number, line)
        return
    lines = source.splitlines()
    nodes = list(ast.walk(ast.parse(source)))
    for number, comment in _comments(source, nodes):
        yield Text(path, number, _plain(comment))
    for node in nodes:
        for constant, is_docstring in _spoken(node):
            for offset, line in enumerate(str(constant.value).splitlines()):
                number = constant.lineno + offset
                if number <= len(lines) and "prose: ok" in lines[number - 1]:
                    continue
                yield Text(path, number, _plain(line), is_docstring and offset == 0)


def _comments(source: str, nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """The comments with their lines: what begins with # and is not in a string. `tokenize` takes ten times as long."""
    strings: dict[int, list[tuple[int, int]]] = {}
    for node in nodes:
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            first, last = node.lineno, node.end_lineno or node.lineno
            for number in range(first, last + 1):
                begin = node.col_offset if number == first else 0
                end = (node.end_col_offset or 0) if number == last else sys.maxsize
                strings.setdefault(number, []).append((begin, end))
    # The syntax tree counts columns in bytes.
    for number, line in enumerate(source.encode().split(b"\n"), 1):
        place = line.find(b"#")
        while place >= 0:
            if not any(begin <= place < end for begin, end in strings.get(number, ())):
                yield number, line[place:].decode()
                break
            place = line.find(b"#", place + 1)


def _plain(line: str) -> str:
    return re.sub(r"`[^`]*`", "`", line)


def _spoken(node: ast.AST) -> Iterator[tuple[ast.Constant, bool]]:
    """The strings directly in *node* that people read, and whether each is a docstring."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        for inner in node.body:
            # The first is a docstring; those after an attribute describe that.
            constant = inner.value if isinstance(inner, ast.Expr) else None
            if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                yield constant, True
    elif isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        spoken = name.endswith("Error") or name in SPOKEN
        for inner in (*(node.args if spoken else ()), *(word.value for word in node.keywords if word.arg in SHOWN)):
            for leaf in ast.walk(inner):
                if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str):
                    yield leaf, False


def found(path: Path, wanted: list[re.Pattern[str]]) -> Iterator[Place]:
    """Every place in a file that matches one of the patterns."""
    for text in texts(path):
        if "prose: ok" in text.text:
            continue
        for pattern in wanted:
            if pattern.pattern.startswith(FIRST_LINES) and not text.is_first:
                continue
            if pattern.search(text.text):
                yield Place(path, text.line, pattern.pattern, text.text)


def files(checkout: Path = CHECKOUT) -> list[Path]:
    """All files that are checked."""
    documents = [*checkout.glob("*.md"), *(checkout / "docs").rglob("*.md")]
    code = [path for room in ("arstore", "tools", "benchmarks", "tests") for path in (checkout / room).rglob("*.py")]
    scripts = [
        path
        for room in ("tools", "benchmarks")
        for path in (checkout / room).iterdir()
        if path.is_file() and not path.suffix
    ]
    return sorted(path for path in (*documents, *code, *scripts) if path != STYLE)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", action="store_true", help="print the number of places in each file")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    given = parser.parse_args()
    wanted = patterns(STYLE.read_text())
    chosen = [path.resolve() for path in given.files] or files()
    places = [place for path in chosen for place in found(path, wanted)]
    if given.count:
        for path, count in sorted(Counter(place.path for place in places).items()):
            print(count, path.relative_to(CHECKOUT) if path.is_relative_to(CHECKOUT) else path)
    else:
        for place in places:
            shown = place.path.relative_to(CHECKOUT) if place.path.is_relative_to(CHECKOUT) else place.path
            print(place._replace(path=shown))
    return 1 if places else 0


if __name__ == "__main__":
    sys.exit(main())
