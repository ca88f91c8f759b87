"""Lists of things: `--quiet`, `--filter`, `--format`, `--no-trunc`, `--noheading` and `--sort`, for all commands.

A command declares its `Table` and makes `Item`s. An item has three faces: the cells of the table, its document for
`--json` and JSON paths in arstore's names, and its fields for Go templates and `--format json` in podman's names. Out
of scope: what a filter means for a kind of thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.parameter import option
from arstore.cli.terminal.output import write_json, write_line, write_shown, write_table
from arstore.errors import UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypedDict, TypeVar

    from arstore.cli.session import Session

    F = TypeVar("F", bound="Callable[..., Any]")

    class ListingWords(TypedDict):
        """The options, as they were typed."""

        only_ids: bool
        filters: tuple[str, ...]
        template: str | None
        no_trunc: bool
        noheading: bool
        sort: str


_TABLE = "table "
_PATHS = ("{.", "{[", "{range ", "{$", "{@", '{"')
"""How a JSON path begins."""
FORMAT_HELP = (
    "Print each in this format: json, a Go template such as {{.ID}}, table and a template, or a JSON path such as "
    "{.id}; docs/containers.md has the syntax."
)
"""The help of `--format`."""


class Item(NamedTuple):
    """One thing of a list; *keys* are what it can be sorted by."""

    id: str
    """The text that `--quiet` prints."""
    cells: Sequence[str] = ()
    document: Mapping[str, Any] = {}
    fields: Mapping[str, Any] = {}
    keys: Mapping[str, Any] = {}
    plain: Mapping[str, Any] | None = None
    """The entry of `--format json`, if it is not made of the fields."""


class Table(NamedTuple):
    """How a command lists: the head of its table, and the headings of fields in `--format 'table ...'`."""

    head: tuple[str, ...]
    headings: Mapping[str, str] = {}
    """By field; a field that is not here has its name in capital letters."""


def listing_options(
    sorts: Sequence[str], filters: Sequence[str], *, noheading: Sequence[str] = ("-n", "--noheading")
) -> Callable[[F], F]:
    """Return a decorator that adds the options of ListingWords; *sorts* and *filters* are the known names."""
    made = (
        option("-q", "--quiet", "only_ids", is_flag=True, help="Print the ids only."),
        option(
            "-f",
            "--filter",
            "filters",
            metavar="KEY=VALUE",
            multiple=True,
            help=f"List only those that match; repeatable. The keys are {', '.join(filters)}.",
        ),
        option("--format", "template", metavar="FORMAT", help=FORMAT_HELP),
        option("--no-trunc", is_flag=True, help="Do not shorten ids and commands."),
        option(*noheading, is_flag=True, help="Print no heading."),
        option("--sort", metavar="KEY", default="", help=f"Sort by {', '.join(sorts)}."),
    )

    def decorate(function: F) -> F:
        for one in reversed(made):
            function = one(function)
        return function

    return decorate


def require_valid(session: Session, command: str, words: ListingWords, sorts: Sequence[str]) -> None:
    """Raise UsageError for options that exclude each other, an unknown key to sort by, and an invalid format."""
    if session.json and (words["only_ids"] or words["template"] is not None):
        raise UsageError(command, "--json excludes --quiet and --format")
    if words["only_ids"] and words["template"] is not None:
        raise UsageError(command, "--quiet and --format exclude each other")
    if words["sort"] and words["sort"] not in sorts:
        raise UsageError(f"--sort {words['sort']}", "is not known", f"use one of {', '.join(sorts)}")
    if words["template"] is not None:
        Format(words["template"])


def write_listing(session: Session, words: ListingWords, items: Sequence[Item], table: Table) -> None:
    """Sort the items, and print them as the options say. Raises UsageError for a field that they do not have."""
    found = list(items)
    if words["sort"]:
        found.sort(key=lambda item: item.keys[words["sort"]])
    if session.json:
        write_json([item.document for item in found])
    elif words["only_ids"]:
        for one in dict.fromkeys(item.id for item in found):
            write_line(one)
    elif words["template"] is not None:
        Format(words["template"]).write(found, table, heading=not words["noheading"])
    else:
        write_table(table.head, [item.cells for item in found], heading=not words["noheading"])


class Format:
    """A parsed `--format`."""

    def __init__(self, text: str) -> None:
        """Raises UsageError."""
        self._is_json = text == "json"
        self._is_table = text.startswith(_TABLE)
        self._takes_document = text.startswith(_PATHS)
        self._render: Callable[[object], str]
        if self._takes_document:
            from arstore.cli.terminal.formats.jsonpath import JsonPath

            self._render = JsonPath(text).render
        elif not self._is_json:
            from arstore.cli.terminal.formats.template import Template

            self._render = Template(text, escapes=True).render

    def write(self, items: Sequence[Item], table: Table, *, heading: bool = True) -> None:
        """Print the items. Raises UsageError for a field that they do not have."""
        if self._is_json:
            from arstore.cli.terminal.formats.values import plain

            write_json([plain(item.fields if item.plain is None else item.plain) for item in items])
        elif self._is_table:
            self._write_table(items, table, heading)
        else:
            for item in items:
                text = self._render(item.document if self._takes_document else _fields(item.fields))
                write_shown((text + "\n").encode("utf-8", "surrogateescape"))

    def _write_table(self, items: Sequence[Item], table: Table, heading: bool) -> None:
        rows = [self._columns(item.fields) for item in items]
        names = items[0].fields if items else ()
        titles = {name: table.headings.get(name, name.upper()) for name in (*names, *table.headings)}
        try:
            head = self._columns(titles if items else _titles(titles))
        except UsageError:
            # A function that does not take a heading, such as one for lists.
            head = []
        width = max(map(len, [head, *rows]))
        cells = [[*row, *[""] * (width - len(row))] for row in rows]
        write_table([*head, *[""] * (width - len(head))], cells, heading=heading and bool(head))

    def _columns(self, fields: Mapping[str, Any]) -> list[str]:
        return self._render(_fields(fields)).removeprefix(_TABLE).split("\t")


def _titles(titles: Mapping[str, str]) -> Mapping[str, Any]:
    """Return *titles* with one for each other name: without an item, it is not known which fields there are."""
    from arstore.cli.terminal.formats.values import Fields

    class Titles(Fields):
        def find(self, name: str) -> object:
            try:
                return super().find(name)
            except KeyError:
                return name.upper()

    return Titles(titles)


def _fields(fields: Mapping[str, Any]) -> object:
    from arstore.cli.terminal.formats.values import Fields

    return fields if isinstance(fields, Fields) else Fields(fields)
