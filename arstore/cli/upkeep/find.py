"""`find`: which images and layers have a file, a content or a digest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from arstore import errors
from arstore.cli.command import IMAGE_ERRORS, command, exit_statuses, json_option, needing, progress_option
from arstore.cli.namespace import Need
from arstore.cli.parameter import Range, argument, option
from arstore.cli.terminal.output import human_size, short_digest, write_json, write_line, write_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.cli.session import Session
    from arstore.maintenance.find.query import Query
    from arstore.maintenance.find.search import Found, Place, Where
    from arstore.store.store import Store

_HEAD = ("IMAGE", "LAYER", "KIND", "SIZE>", "STATE", "PATH")


@exit_statuses(*IMAGE_ERRORS)
@needing(Need.REMOVAL)
@command("find")
@argument("wanted", metavar="[PATH|DIGEST|PATTERN]", required=False)
@option("--image", "images", metavar="IMAGE", multiple=True, help="Search only this image; repeatable.")
@option("--visible", is_flag=True, help="Leave out what a layer above hides.")
@option("--content-of", metavar="FILE", help="Find files with the content of FILE, which is read and hashed.")
@option("--limit", type=Range(int, min=1), help="Stop after this many paths; by default 1000.")
@option("--update", is_flag=True, help="First complete the index of contents.")
@progress_option
@json_option
def find(
    session: Session,
    wanted: str | None,
    images: tuple[str, ...],
    visible: bool,
    content_of: str | None,
    limit: int | None,
    update: bool,
) -> None:
    """Find which images and layers have a file.

    PATH is a path in the images, with a slash. PATTERN has *, ? or [...]: with a slash it is compared with whole paths,
    without one with names; ** also matches slashes. A word without a slash is a name in any directory. DIGEST is
    sha256:HEX or blake3:HEX of a file's content, or the digest of an image, a config, a blob or a layer.

    Prints a line for each image, layer and path: whether the image shows the file, or which layer above hides it, by a
    whiteout, by an opaque directory, or because it has something else there.

    Names come from an index of contents, which imports keep up to date; layers that it lacks are read, which takes
    longer. Digests of files are computed when a layer is imported (--file-digests), never by a search. Unless that was
    with sha256, files of more than 16 KiB have a BLAKE3 only, by which --content-of finds them. What is not known is
    printed to stderr: layers that have not been prepared for mounting, and files without the wanted digest. --update
    adds to the index what it lacks.

    Examples:

    arstore find /etc/ssl/openssl.cnf

    arstore find 'libssl.so*' --visible

    arstore find --content-of ./libcrypto.so.3
    """
    from arstore.maintenance.find.search import MOST_PATHS, search

    if (wanted is None) == (content_of is None) and not (update and wanted is None):
        raise errors.UsageError("find", "give either PATH, DIGEST or PATTERN, or --content-of")
    with session.store() as store:
        added = _update(session, store) if update else 0
        query = _query(session, wanted, content_of)
        if query is None:
            _show_update(session, added)
            return
        only = [member for text in images for member in image_digests(store, text)]

        def report(count: int) -> None:
            session.note(f"reading {count} layers that the index of contents lacks; `arstore find --update` adds them")

        found = search(store, query, only, limit or MOST_PATHS, report)
    if visible:
        found.paths = dict(_visible(found))
    if session.json:
        write_json(_document(found))
    else:
        _show(session, found)


def _query(session: Session, wanted: str | None, content_of: str | None) -> Query | None:
    from arstore.maintenance.find.query import of_content, parse

    if content_of is not None:
        try:
            return of_content(content_of)
        except OSError as error:
            raise errors.UsageError(content_of, errors.reason(error)) from error
    return None if wanted is None else parse(wanted)


def _update(session: Session, store: Store) -> int:
    from arstore.maintenance.find.update import update

    with session.progress("") as progress:
        return update(store, progress)


def _show_update(session: Session, added: int) -> None:
    if session.json:
        write_json({"added": added})
    else:
        write_line(f"added {added} layers to the index of contents")


def image_digests(store: Store, text: str) -> list[str]:
    """Return the digests of the image that *text* means, or of the images of an index."""
    image = store.find(text)
    if image.home is not None:
        root = image.home.directories.root
        why = f"is in the additional store {root}, which is not searched"
        raise errors.NotFoundError(text, why, f"`arstore --root {root} find` searches it")
    return [one.digest for one in store.members(image)] if image.record.is_index else [image.digest]


def _visible(found: Found) -> Iterator[tuple[bytes, list[Place]]]:
    for path, places in found.paths.items():
        shown = [place._replace(images=tuple(one for one in place.images if not one.how)) for place in places]
        if left := [place for place in shown if place.images]:
            yield path, left


def _show(session: Session, found: Found) -> None:
    if found.objects:
        rows = [
            (one.kind, human_size(one.size), ", ".join(short_digest(image) for image in one.images) or "-")
            for one in found.objects
        ]
        write_table(("OBJECT", "SIZE>", "IMAGES"), rows)
    if found.paths:
        if found.objects:
            write_line()
        write_table(_HEAD, list(_rows(found)))
    for line in _unknown(found):
        session.note(line)


def _rows(found: Found) -> Iterator[Sequence[str]]:
    from arstore.trees.contents.row import KINDS

    for path, places in found.paths.items():
        shown = "/" + os.fsdecode(path)
        for place in places:
            size = human_size(place.size) if place.size or KINDS[place.kind] == "file" else "-"
            layer = short_digest(place.diff_id)
            if not place.images:
                yield "-", layer, KINDS[place.kind], size, "in no image", shown
            for image in place.images:
                yield _called(image), layer, KINDS[place.kind], size, _state(image), shown


def _called(image: Where) -> str:
    return image.names[0] if image.names else short_digest(image.digest)


def _state(image: Where) -> str:
    return f"hidden by {short_digest(image.by)} ({image.how})" if image.how else "visible"


def _unknown(found: Found) -> Iterator[str]:
    """Yield lines about what the answer does not cover."""
    if not (found.paths or found.objects):
        yield "nothing was found"
    if found.symlink is not None:
        path, target = (os.fsdecode(part) for part in found.symlink)
        yield f"/{path} is a symlink to {target}; search for a path below that"
    if found.is_cut:
        yield "there is more than is shown; give a narrower pattern, --image or --limit"
    if found.unlisted:
        count = len(found.unlisted)
        what = "1 layer is" if count == 1 else f"{count} layers are"
        yield f"{what} not prepared for mounting, so the files in there are not known"
    if found.unhashed and not found.objects:
        yield f"{found.unhashed} files have no digest of this kind, so it is not known whether they match"


def _document(found: Found) -> dict[str, Any]:
    from arstore.trees.contents.row import KINDS

    return {
        "objects": [one._asdict() for one in found.objects],
        "found": [
            {
                "path": "/" + os.fsdecode(path),
                "layers": [
                    {
                        "diff_id": place.diff_id,
                        "kind": KINDS[place.kind],
                        "size": place.size,
                        "digest": place.digest,
                        "images": [_image(one) for one in place.images],
                    }
                    for place in places
                ],
            }
            for path, places in found.paths.items()
        ],
        "truncated": found.is_cut,
        "unknown": {"layers": list(found.unlisted), "files": found.unhashed},
    }


def _image(image: Where) -> dict[str, Any]:
    shown: dict[str, Any] = {"digest": image.digest, "names": list(image.names), "visible": not image.how}
    return {**shown, "hidden_by": image.by, "how": image.how} if image.how else shown
