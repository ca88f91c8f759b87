"""Hints: records that may be missing at any time, so that an older arstore need not know them.

    hints/<table>/<subject>[/<detail>]  ->  text

The *table* is the hint's own, such as the last use of images. The *subject* is what it speaks of: a digest (of an
image, layer, tree or blob) or the id of a container. So a collector can tell whether a hint still speaks of anything,
also a hint of a table that it does not know. Hints are sealed as all records are; one that cannot be read is as good as
none. `gc` removes those whose subject is gone; nothing else touches what it does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.graph.record_checksum import is_sealed, sealed, unsealed
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.graph.snapshot import Snapshot
    from arstore.graph.write import Change

TABLE = "hints"
_OF_DIGESTS = ("images", "layers", "trees", "blobs")
"""Tables whose keys are digests."""


class Hint(NamedTuple):
    """What a hint speaks of, and what it says."""

    subject: str
    detail: str
    text: str


def hint(snapshot: Snapshot, table: str, subject: str, detail: str = "") -> str:
    """What a hint says; "" for none."""
    key = _key(table, subject, detail)
    return _hint_text(key, snapshot.raw(key)) or ""


def hints(snapshot: Snapshot, table: str) -> Iterator[Hint]:
    """All hints of *table*, by subject and detail."""
    for name in snapshot.keys(f"{TABLE}/{table}"):
        subject, _, detail = name.partition("/")
        key = f"{TABLE}/{table}/{name}".encode()
        text = _hint_text(key, snapshot.raw(key))
        if text is not None:
            yield Hint(subject, detail, text)


def put_hint(change: Change, table: str, subject: str, text: str, detail: str = "") -> None:
    """Record a hint."""
    key = _key(table, subject, detail)
    change.put_raw(key, sealed(key, text.encode()))


def delete_hint(change: Change, table: str, subject: str, detail: str = "") -> None:
    """Remove a hint, if there is one."""
    change.delete_raw(_key(table, subject, detail))


def stale(snapshot: Snapshot) -> list[str]:
    """The keys, in the table of hints, of those whose subject is gone. What has no subject is left alone."""
    found = []
    gone: dict[str, bool] = {}
    for name in snapshot.keys(TABLE):
        subject = _subject(name)
        if subject:
            if subject not in gone:
                gone[subject] = _is_gone(snapshot, subject)
            if gone[subject]:
                found.append(name)
    return found


def drop(change: Change, names: list[str]) -> None:
    """Remove these hints, which were `stale`, unless their subjects have come back."""
    for name in names:
        if _is_gone(change, _subject(name)):
            change.delete(TABLE, name)


def _subject(name: str) -> str:
    return name.split("/", 2)[1] if "/" in name else ""


def _is_gone(snapshot: Snapshot, subject: str) -> bool:
    tables = _OF_DIGESTS if ":" in subject else ("containers",)
    return not any(snapshot.has(table, subject) for table in tables)


def _key(table: str, subject: str, detail: str) -> bytes:
    if not table or not subject or "/" in table or "/" in subject:
        raise ValueError(f"no hint can be called {table!r} and speak of {subject!r}")
    return "/".join((TABLE, table, subject, *([detail] if detail else []))).encode()


def _hint_text(key: bytes, value: bytes | None) -> str | None:
    if value is None or not is_sealed(key, value):
        return None
    return unsealed(key, value).decode("utf-8", "replace")
