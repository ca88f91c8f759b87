"""Lines that guard something, found by rules in the syntax tree, and the change that removes each guard.

    sync         a call that makes bytes or names durable; the mutant does not call it
    verify       a comparison of digests, checksums or sizes, or a call that verifies; the mutant always succeeds
    limit        a comparison with a limit, a reserve or a budget; the mutant never reaches the limit
    permission   a mode, a flag that refuses symlinks or existing files, a check of an owner; the mutant is more open

Apart from these, `conditions` finds every condition of some modules, and negates it: for code in which each condition
decides about trust, so that a sample is not enough.

A mutant is named by its file, the function around it, what it changes, and a number where one function has the same
text twice, so that it is found again when lines have moved.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

RULES = ("sync", "verify", "limit", "permission")

_SYNCS = {"fsync", "fdatasync", "syncfs", "sync_directory", "_sync_file", "sync_trees"}
_OPENS_UP = {"chmod", "fchmod", "umask", "remove_acls", "refuse_stores", "require_writable", "require_private"}
_FLAG = re.compile(r"O_NOFOLLOW|O_EXCL|RESOLVE_\w+|AT_SYMLINK_NOFOLLOW|MS_NO\w+|NO_?SUID|NO_?DEV|NO_?EXEC")
_VERIFIED = re.compile(
    r"digest|diff_id|checksum|sha256|crc|(?<!chunk)(?<!block)_?size\b|sums?\b|\bexpected\b|\bfound\b|stored|announced"
)
_LIMIT = re.compile(r"limit|max|reserve|budget|quota|allow|\broom|most|_MANY|left\b|free\b|bound|cap\b|enough", re.I)
_OWNED = re.compile(r"st_uid|geteuid|getuid|S_IMODE|st_mode\s*&|mode\s*&\s*0o|\buid\b")
_PRIVATE = re.compile(r"0o[67]00\Z")
_DRAWN = "cli/terminal/"
"""Modules where comparisons lay out what is drawn, and guard nothing."""


class Mutant(NamedTuple):
    """One guard, and the text that replaces it: bytes `start` to `end` of the file."""

    rule: str
    path: str
    function: str
    guard: str
    number: int
    start: int
    end: int
    text: str
    line: int

    @property
    def name(self) -> str:
        """Its name in a list."""
        again = f" #{self.number}" if self.number > 1 else ""
        return f"{self.path} {self.function}: {self.guard} -> {self.text}{again}"

    def applied(self, source: bytes) -> bytes:
        """The *source* without the guard."""
        return source[: self.start] + self.text.encode() + source[self.end :]


def candidates(package: Path) -> list[Mutant]:
    """Every mutant of the *package*, in the order of files and lines."""
    return [mutant for path in sorted(package.rglob("*.py")) for mutant in _File(path, package.parent).mutants()]


def conditions(modules: Iterable[Path], top: Path) -> list[Mutant]:
    """Every condition of the *modules* below *top*, negated: whole tests, and each operand of an `and` or `or`."""
    return [mutant for path in sorted(modules) for mutant in _File(path, top).negated()]


def written(rule: str, name: str, top: Path) -> Mutant | None:
    """The mutant that a line of a list describes, for any rule; None if the function does not have the text."""
    where, _, change = name.partition(": ")
    path, _, function = where.partition(" ")
    guard, _, text = change.rpartition(" -> ")
    source = (top / path).read_bytes() if (top / path).exists() else b""
    lines = source.splitlines(keepends=True)
    for scope, node, _parents in _walked(ast.parse(source), "<module>", ()):
        # The function itself, or its body right below.
        own = f"{scope}.{node.name}".removeprefix("<module>.") if isinstance(node, _SCOPES) else scope
        if own == function and isinstance(node, ast.stmt):
            start = source.find(guard.encode(), sum(map(len, lines[: node.lineno - 1])))
            end = sum(map(len, lines[: node.end_lineno]))
            if 0 <= start < end:
                line = source.count(b"\n", 0, start) + 1
                return Mutant(rule, path, function, guard, 1, start, start + len(guard.encode()), text, line)
    return None


class _File:
    """One module, its syntax tree, and where each line begins."""

    def __init__(self, path: Path, top: Path) -> None:
        self._path = str(path.relative_to(top))
        self._source = path.read_bytes()
        self._lines = [0]
        for line in self._source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def mutants(self) -> Iterator[Mutant]:
        seen: Counter[tuple[str, ...]] = Counter()
        for function, node, parents in _walked(ast.parse(self._source), "<module>", ()):
            for rule, target, text in self._changes(node, parents):
                if rule == "limit" and _DRAWN in self._path:
                    continue
                yield self._mutant(rule, function, target, text, seen)

    def negated(self) -> Iterator[Mutant]:
        seen: Counter[tuple[str, ...]] = Counter()
        for function, node, parents in _walked(ast.parse(self._source), "<module>", ()):
            if any(isinstance(parent, ast.If) and self._text(parent.test) == "TYPE_CHECKING" for parent in parents):
                continue
            for target in _conditions(node):
                if self._text(target) != "TYPE_CHECKING":
                    yield self._mutant("condition", function, target, f"(not ({self._text(target)}))", seen)

    def _mutant(
        self, rule: str, function: str, target: ast.expr | ast.stmt, text: str, seen: Counter[tuple[str, ...]]
    ) -> Mutant:
        start, end = self._span(target)
        guard = " ".join(self._source[start:end].decode().split())
        name = " ".join(text.split())
        key = (rule, function, guard, name)
        seen[key] += 1
        return Mutant(rule, self._path, function, guard, seen[key], start, end, name, target.lineno)

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._lines[node.lineno - 1] + node.col_offset, self._lines[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr | ast.stmt) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()

    def _changes(self, node: ast.AST, parents: tuple[ast.AST, ...]) -> Iterator[tuple[str, ast.expr | ast.stmt, str]]:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from self._calls(node, node.value)
        elif isinstance(node, ast.keyword) and node.arg == "durable" and self._text(node.value) == "True":
            yield "sync", node.value, "False"
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield from self._comparisons(node, parents)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            yield from self._flags(node)
        elif isinstance(node, ast.Constant) and type(node.value) is int and _PRIVATE.match(self._text(node)):
            opened = {"6": "0o666", "7": "0o777"}[self._text(node)[2]]
            yield from () if _is_compared(parents) else [("permission", node, opened)]

    def _calls(self, statement: ast.Expr, call: ast.Call) -> Iterator[tuple[str, ast.expr | ast.stmt, str]]:
        called = self._text(call.func).rpartition(".")[2]
        if called in _SYNCS or self._text(call).startswith('libc("syncfs"'):
            yield "sync", statement, "pass"
        elif called in _OPENS_UP:
            yield "permission", statement, "pass"
        elif called.lstrip("_").startswith("verify"):
            yield "verify", statement, "pass"

    def _comparisons(
        self, node: ast.Compare, parents: tuple[ast.AST, ...]
    ) -> Iterator[tuple[str, ast.expr | ast.stmt, str]]:
        left, right = self._text(node.left), self._text(node.comparators[0])
        trivial = right in ("0", "1", "-1", "None", '""', 'b""', "()") or isinstance(node.comparators[0], ast.Tuple)
        operator = node.ops[0]
        if isinstance(operator, ast.Eq | ast.NotEq):
            if _OWNED.search(left) or _OWNED.search(right):
                # The guard is that two values match; a test for "root" alone guards nothing.
                if right != "0":
                    yield "permission", node, str(isinstance(operator, ast.Eq))
            elif not trivial and (_VERIFIED.search(left) or _VERIFIED.search(right)):
                yield "verify", node, str(isinstance(operator, ast.Eq))
        elif isinstance(operator, ast.Gt | ast.GtE | ast.Lt | ast.LtE):
            bounded = _LIMIT.search(right) or right.strip("_").isupper()
            if bounded or _LIMIT.search(left):
                under = isinstance(operator, ast.Lt | ast.LtE)
                yield "limit", node, str(under if bounded else not under)

    def _flags(self, node: ast.BinOp) -> Iterator[tuple[str, ast.expr | ast.stmt, str]]:
        for flag, other in ((node.right, node.left), (node.left, node.right)):
            if not isinstance(flag, ast.BinOp) and _FLAG.fullmatch(self._text(flag).rpartition(".")[2].lstrip("_")):
                yield "permission", node, self._text(other)


def _conditions(node: ast.AST) -> list[ast.expr]:
    """The conditions of *node* itself, not of its parts; assertions, which are for type checkers, do not count."""
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        return [node.test]
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.comprehension):
        return node.ifs
    if isinstance(node, ast.Return) and isinstance(node.value, ast.Compare | ast.UnaryOp):
        return [node.value]
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("any", "all") and node.args:
        argument = node.args[0]
        return [argument.elt] if isinstance(argument, ast.GeneratorExp) else [node]
    return []


def _is_compared(parents: tuple[ast.AST, ...]) -> bool:
    return any(isinstance(parent, ast.Compare) for parent in parents[-3:])


def _walked(
    node: ast.AST, function: str, parents: tuple[ast.AST, ...]
) -> Iterator[tuple[str, ast.AST, tuple[ast.AST, ...]]]:
    """Every node with the name of the function around it and the nodes above it; annotations are left out."""
    yield function, node, parents
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field not in ("annotation", "returns"):
                name = getattr(child, "name", "") if isinstance(child, _SCOPES) else ""
                inner = f"{function}.{name}" if name and function != "<module>" else name or function
                yield from _walked(child, inner, (*parents, node))


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
