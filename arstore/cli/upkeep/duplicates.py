"""`du --duplicates`: files with the same content in several places."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore.cli.terminal.output import human_size, short_digest, write_json, write_line, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.api.values.contents import DuplicateGroup, Duplicates
    from arstore.cli.session import Session

_MOST_NAMES = 3


def show_duplicates(session: Session, images: tuple[str, ...]) -> None:
    """Print the duplicates in the layers of *images*. Raises NotFoundError, AmbiguousError, InvalidReferenceError."""
    with session.library() as store:
        found = store.duplicates(*images)
    if session.json:
        write_json(_document(found))
        return
    names = found.names
    if found.largest:
        rows = [
            (human_size(one.saved), str(one.copies), human_size(one.size), _images(one, names), _path(one))
            for one in found.largest
        ]
        write_table(("SAVES>", "COPIES>", "SIZE>", "IMAGES", "PATH"), rows)
        write_line()
    write_line(
        f"{found.copies} files have {found.groups} contents; one copy of each would save {human_size(found.saved)}"
    )
    if found.unlisted:
        session.note(
            f"layers that the index of contents lacks: {len(found.unlisted)}; `arstore find --update` adds them"
        )
    if found.unhashed:
        session.note(f"files without a digest: {found.unhashed}")


def _path(group: DuplicateGroup) -> str:
    first = group.files[0].path
    others = len({file.path for file in group.files}) - 1
    return f"{first} and {others} more" if others else first


def _images(group: DuplicateGroup, names: Mapping[str, Sequence[str]]) -> str:
    digests = dict.fromkeys(digest for file in group.files for digest in file.images)
    shown = [names[digest][0] if digest in names else short_digest(digest) for digest in digests]
    more = f" and {len(shown) - _MOST_NAMES} more" if len(shown) > _MOST_NAMES else ""
    return f"{', '.join(shown[:_MOST_NAMES])}{more}" or "-"


def _document(found: Duplicates) -> dict[str, Any]:
    names = found.names
    return {
        "files": found.files,
        "groups": found.groups,
        "copies": found.copies,
        "saved": found.saved,
        "largest": [
            {
                "digest": group.digest,
                "size": group.size,
                "copies": group.copies,
                "saved": group.saved,
                "places": [
                    {
                        "diff_id": place.diff_id,
                        "path": place.path,
                        "images": [{"digest": one, "names": list(names.get(one, ()))} for one in place.images],
                    }
                    for place in group.files
                ],
            }
            for group in found.largest
        ],
        "unknown": {"layers": list(found.unlisted), "files": found.unhashed},
    }
