"""Hints: records that may be missing at any time, so that an older arstore need not know them.

    hints/<table>/<subject>[/<detail>]  ->  text

*table* is the hint's own table, such as the last use of images. *subject* is what it is about: a digest (of an image,
layer, tree or blob) or the id of a container. So a collector can find out whether the subject of a hint still exists,
even for a table that it does not know. Hints are sealed like all records; an unreadable hint counts as missing. `gc`
removes hints whose subject is gone; unknown hints are otherwise left alone.
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
    """Subject and text of a hint."""

    subject: str
    detail: str
    text: str


def hint(snapshot: Snapshot, table: str, subject: str, detail: str = "") -> str:
    """Return the text of a hint; "" if it does not exist."""
    key = _key(table, subject, detail)
    return _hint_text(key, snapshot.raw(key)) or ""


def hints(snapshot: Snapshot, table: str) -> Iterator[Hint]:
    """Yield all hints of *table*, by subject and detail."""
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
    """Return the keys, in the table of hints, of hints whose subject is gone. Hints without a subject are ignored."""
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
    """Remove these hints, which were `stale`, unless their subjects exist again."""
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
        raise ValueError(f"a hint cannot have the table {table!r} and the subject {subject!r}")
    return "/".join((TABLE, table, subject, *([detail] if detail else []))).encode()


def _hint_text(key: bytes, value: bytes | None) -> str | None:
    if value is None or not is_sealed(key, value):
        return None
    return unsealed(key, value).decode("utf-8", "replace")
