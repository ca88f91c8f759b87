"""Searches for files, as the library offers them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.api.values.contents import (
    DuplicateFile,
    DuplicateGroup,
    Duplicates,
    Found,
    FoundFile,
    FoundImage,
    FoundObject,
)
from arstore.errors import NotFoundError, UsageError, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.maintenance.find.query import Query
    from arstore.maintenance.find.search import Place, Where
    from arstore.store.store import Store


def find(
    store: Store,
    wanted: str | None,
    content_of: str | None,
    images: Sequence[str],
    visible: bool,
    limit: int | None,
    report: Callable[[int], None],
) -> Found:
    """Search for files; see `arstore.api.store.Store.find`. *report* gets the number of layers that have to be read."""
    from arstore.maintenance.find.search import MOST_PATHS, search

    query = _query(wanted, content_of)
    only = [digest for text in images for digest in image_digests(store, text)]
    found = search(store, query, only, limit or MOST_PATHS, report)
    files = (_file(path, place, visible) for path, places in found.paths.items() for place in places)
    return Found(
        tuple(file for file in files if file.images or not visible),
        tuple(FoundObject(one.kind, one.size, tuple(one.images)) for one in found.objects),
        tuple(found.unlisted),
        found.unhashed,
        found.is_cut,
        None if found.symlink is None else (_path(found.symlink[0]), os.fsdecode(found.symlink[1])),
    )


def _query(wanted: str | None, content_of: str | None) -> Query:
    from arstore.maintenance.find.query import of_content, parse

    if content_of is None:
        return parse(wanted or "")
    try:
        return of_content(content_of)
    except OSError as error:
        raise UsageError(content_of, reason(error)) from error


def _file(path: bytes, place: Place, visible: bool) -> FoundFile:
    from arstore.trees.contents.row import KINDS

    images = tuple(_image(one) for one in place.images if not (visible and one.how))
    return FoundFile(_path(path), place.diff_id, KINDS[place.kind], place.size, place.digest, images)


def _image(one: Where) -> FoundImage:
    return FoundImage(one.digest, tuple(one.names), one.by, one.how)


def image_digests(store: Store, text: str) -> list[str]:
    """Return the digests of the image that *text* means, or of the images of an index. Raises NotFoundError."""
    image = store.find(text)
    if image.home is not None:
        root = image.home.directories.root
        why = f"is in the additional store {root}, which is not searched"
        raise NotFoundError(text, why, f"`arstore --root {root} find` searches it")
    return [one.digest for one in store.members(image)] if image.record.is_index else [image.digest]


def duplicates(store: Store, images: Sequence[str]) -> Duplicates:
    """Find equal files; see `arstore.api.store.Store.duplicates`."""
    from arstore.maintenance.duplicates import duplicates as look

    found = look(store, [digest for text in images for digest in image_digests(store, text)])
    largest = (
        DuplicateGroup(
            group.digest,
            group.size,
            group.copies,
            group.saved,
            tuple(DuplicateFile(one.diff_id, _path(one.path), tuple(one.images)) for one in group.places),
        )
        for group in found.largest
    )
    names = {digest: tuple(some) for digest, some in (found.names or {}).items()}
    return Duplicates(
        found.files,
        found.groups,
        found.copies,
        found.saved,
        tuple(largest),
        names,
        tuple(found.unlisted),
        found.unhashed,
    )


def _path(path: bytes) -> str:
    return "/" + os.fsdecode(path)
