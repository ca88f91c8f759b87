"""`find`: which images and layers have a file, a content or a digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore import errors
from arstore.cli.command import IMAGE_ERRORS, command, exit_statuses, json_option, needing, progress_option
from arstore.cli.namespace import Need
from arstore.cli.parameter import Range, argument, option
from arstore.cli.terminal.output import human_size, short_digest, write_json, write_line, write_table
from arstore.store.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.api.store import Store
    from arstore.api.values.contents import Found, FoundImage
    from arstore.cli.session import Session

_HEAD = ("IMAGE", "LAYER", "KIND", "SIZE>", "STATE", "PATH")


@exit_statuses(*IMAGE_ERRORS)
@needing(Need.REMOVAL)
@command("find")
@argument("wanted", metavar="[PATH|DIGEST|PATTERN]", required=False)
@option("--image", "images", metavar="IMAGE", multiple=True, help="Search only this image; repeatable.")
@option("--visible", is_flag=True, help="Leave out what a layer above hides.")
@option("--content-of", metavar="FILE", help="Find files with the content of FILE, which is read and hashed.")
@option("--limit", metavar="N", type=Range(int, min=1), help="Stop after this many paths; by default 1000.")
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
    if (wanted is None) == (content_of is None) and not (update and wanted is None):
        raise errors.UsageError("find", "give either PATH, DIGEST or PATTERN, or --content-of")
    with session.library() as store:
        added = _update(session, store) if update else 0
        if wanted is None and content_of is None:
            _show_update(session, added)
            return
        found = store.find(
            wanted or "",
            content_of=content_of,
            images=images,
            visible=visible,
            limit=limit,
            progress=_Report(session),
        )
    if session.json:
        write_json(_document(found))
    else:
        _show(session, found)


class _Report(NoProgress):
    """Prints how many layers have to be read."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def start(self, key: str, label: str, total: int | None) -> None:
        """Print it, with what avoids it."""
        del key
        hint = "`arstore find --update` adds them"
        self._session.note(f"reading {total} layers that the index of contents lacks; {hint}")


def _update(session: Session, store: Store) -> int:
    with session.progress("") as progress:
        return store.update_contents(progress)


def _show_update(session: Session, added: int) -> None:
    if session.json:
        write_json({"added": added})
    else:
        write_line(f"added {added} layers to the index of contents")


def _show(session: Session, found: Found) -> None:
    if found.objects:
        rows = [
            (one.kind, human_size(one.size), ", ".join(short_digest(image) for image in one.images) or "-")
            for one in found.objects
        ]
        write_table(("OBJECT", "SIZE>", "IMAGES"), rows)
    if found.files:
        if found.objects:
            write_line()
        write_table(_HEAD, list(_rows(found)))
    for line in _unknown(found):
        session.note(line)


def _rows(found: Found) -> Iterator[Sequence[str]]:
    for file in found.files:
        size = human_size(file.size) if file.size or file.kind == "file" else "-"
        layer = short_digest(file.diff_id)
        if not file.images:
            yield "-", layer, file.kind, size, "in no image", file.path
        for image in file.images:
            yield _called(image), layer, file.kind, size, _state(image), file.path


def _called(image: FoundImage) -> str:
    return image.names[0] if image.names else short_digest(image.digest)


def _state(image: FoundImage) -> str:
    return f"hidden by {short_digest(image.hidden_by)} ({image.how})" if image.how else "visible"


def _unknown(found: Found) -> Iterator[str]:
    """Yield lines about what the answer does not cover."""
    if not (found.files or found.objects):
        yield "nothing was found"
    if found.symlink is not None:
        path, target = found.symlink
        yield f"{path} is a symlink to {target}; search for a path below that"
    if found.truncated:
        yield "there is more than is shown; give a narrower pattern, --image or --limit"
    if found.unlisted:
        count = len(found.unlisted)
        what = "1 layer is" if count == 1 else f"{count} layers are"
        yield f"{what} not prepared for mounting, so the files in there are not known"
    if found.unhashed and not found.objects:
        yield f"{found.unhashed} files have no digest of this kind, so it is not known whether they match"


def _document(found: Found) -> dict[str, Any]:
    paths: dict[str, list[dict[str, Any]]] = {}
    for file in found.files:
        paths.setdefault(file.path, []).append(
            {
                "diff_id": file.diff_id,
                "kind": file.kind,
                "size": file.size,
                "digest": file.digest,
                "images": [_image(one) for one in file.images],
            }
        )
    return {
        "objects": [{"kind": one.kind, "size": one.size, "images": one.images} for one in found.objects],
        "found": [{"path": path, "layers": layers} for path, layers in paths.items()],
        "truncated": found.truncated,
        "unknown": {"layers": list(found.unlisted), "files": found.unhashed},
    }


def _image(image: FoundImage) -> dict[str, Any]:
    shown: dict[str, Any] = {"digest": image.digest, "names": list(image.names), "visible": not image.how}
    return {**shown, "hidden_by": image.hidden_by, "how": image.how} if image.how else shown
