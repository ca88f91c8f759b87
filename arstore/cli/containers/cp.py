"""`cp`: copy files between a container and the host."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import MOUNT_ERRORS, command, exit_statuses, json_option, needing
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.output import write_json
from arstore.errors import InUseError, UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.cli.session import Session
    from arstore.runtime.copying.copy import Place
    from arstore.runtime.copying.entries import Copied
    from arstore.runtime.copying.target import Owners
    from arstore.runtime.inspection.about import About
    from arstore.store.containers import Container
    from arstore.store.store import Store
    from arstore.trees.metadata import SkippedEntries


class _Word(NamedTuple):
    """SRC or DST: a container and a path in it, or a path of the host (*container* is "")."""

    text: str
    container: str
    path: str


@exit_statuses(
    errors.NotFoundError,
    errors.AmbiguousError,
    errors.ConflictError,
    errors.InUseError,
    errors.LimitError,
    errors.TarError,
    errors.TruncatedError,
    errors.UnsafePathError,
    errors.CompressionError,
    errors.MissingBlobError,
    errors.DigestMismatchError,
    errors.ImageConfigError,
    *MOUNT_ERRORS,
)
@needing(Need.OWNERS)
@command("cp")
@argument("source", metavar="[CONTAINER:]SRC|-")
@argument("target", metavar="[CONTAINER:]DST|-")
@option("-a", "--archive", is_flag=True, help="Give files in a container to its user; this is the default.")
@option("--no-archive", "keep", is_flag=True, help="Keep the owner numbers of files that are copied into a container.")
@option("--overwrite", is_flag=True, help="Let directories replace other files, and the reverse.")
@json_option
def cp(session: Session, source: str, target: str, archive: bool, keep: bool, overwrite: bool) -> None:
    """Copy files into a container, or out of one.

    Directories are copied with everything in them. Both ends may be containers. A container may be running or not. A
    path in it is resolved in its own root, including its volumes: no symlink leads out. A file goes into an existing
    directory under its name, replaces an existing file, or gets a new name. A directory goes into an existing directory
    under its name, or gets a new name; with SRC/. only its content is copied. If SRC or DST itself is a symlink, it is
    followed; symlinks inside a directory are copied as they are.

    - is a tar: as DST on stdout, as SRC from stdin, unpacked in the directory DST. Compressed tars are recognised. A
    path of the host that has a colon is written with a slash before it, such as ./a:b.

    Modes, times and holes are kept. Files that come out of a container belong to the caller, without set-user-ID and
    set-group-ID bits. Sockets, devices that come out of a container, and the content of /proc and /sys are left out and
    reported on stderr. Prints nothing else.

    Examples:

    arstore cp app.conf web:/etc/app/

    arstore cp web:/var/log/. logs

    arstore cp web:/srv - | tar t
    """
    from arstore.trees.metadata import SkippedEntries

    if archive and keep:
        raise UsageError("cp", "--archive and --no-archive exclude each other")
    words = _parsed(source), _parsed(target)
    _require_sense(session, *words)
    skipped = SkippedEntries()
    with session.store() as store:
        found = [None if not word.container else store.containers.find(word.container) for word in words]
        count = _copy(store, words, found, skipped, keep=keep, overwrite=overwrite)
    session.done = "the files were copied"
    if skipped.count:
        from arstore.tar.entry import shown

        more = ", ..." if skipped.count > len(skipped.paths) else ""
        session.note(f"left out, because they are not files: {', '.join(map(shown, skipped.paths))}{more}")
    if session.json and target != "-":
        write_json({"copied": count, "left_out": skipped.count})


def _parsed(text: str) -> _Word:
    container, colon, path = text.partition(":")
    if not colon or text.startswith((".", "/")):
        return _Word(text, "", text)
    if not container:
        raise UsageError(text, "the container has no name", "write CONTAINER:PATH, or ./:PATH for a file")
    if not path:
        raise UsageError(text, "the path in the container is empty", f"write {text}/ for its root")
    # A relative path is relative to the root, as in docker and podman.
    return _Word(text, container, path if path.startswith("/") else f"/{path}")


def _require_sense(session: Session, source: _Word, target: _Word) -> None:
    for word in (source, target):
        if not word.path or "\0" in word.path:
            raise UsageError("cp", "a path is empty" if not word.path else "a path cannot contain NUL")
    if not source.container and not target.container:
        raise UsageError("cp", "neither SRC nor DST is in a container", "write CONTAINER:PATH for one of them")
    if target.text == "-":
        from arstore.transport.sinks.archive import refuse_terminal

        refuse_terminal("-")
    if session.json and target.text == "-":
        raise UsageError("cp", "--json and a tar on stdout exclude each other")


def _copy(
    store: Store,
    words: tuple[_Word, _Word],
    found: list[Container | None],
    skipped: SkippedEntries,
    *,
    keep: bool,
    overwrite: bool,
) -> int:
    from arstore.runtime.copying.copy import Place
    from arstore.runtime.copying.root import opened_root
    from arstore.runtime.inspection.about import About

    source, target = found
    if target is not None:
        _require_unmapped(About(store, target))
    user = About(store, target).user if target is not None and source is None and not keep else None
    with ExitStack() as stack:
        roots: dict[str, int] = {}
        for one in found:
            if one is not None and one.id not in roots:
                roots[one.id] = stack.enter_context(opened_root(store, one))
        places = [
            Place(word.path, -1 if one is None else roots[one.id], word.text)
            for word, one in zip(words, found, strict=True)
        ]
        return _between(places[0], places[1], user, stack, skipped, overwrite=overwrite)


def _require_unmapped(about: About) -> None:
    """Raise InUseError for a container that runs with mapped ids: most owners of files are not mapped."""
    if about.options.isolation.uids and about.state is not None and about.state.is_running:
        why = "runs with mapped ids, so files cannot be copied into it"
        raise InUseError(f"container {about.container.id}", why, "stop it first, or mount a directory with -v")


def _between(
    source: Place, target: Place, user: str | None, stack: ExitStack, skipped: SkippedEntries, *, overwrite: bool
) -> int:
    """Copy, and return the number of entries. *user* gets the files, if given; otherwise see `_owners`."""
    from arstore.runtime.copying.copy import Source, copy, destination, directory_of
    from arstore.runtime.copying.target import Target

    if source.what == "-":
        entries: Iterable[Copied] = _stdin()
        where = directory_of(target)
    else:
        opened = Source(source)
        stack.callback(opened.close)
        if target.what == "-":
            return _to_stdout(opened.tree(source.name, skipped))
        where = destination(opened, target)
        entries = opened.tree(where.name, skipped)
    stack.callback(os.close, where.fd)
    sink = Target(where, target.what, _owners(source, target, user), skipped, overwrite=overwrite)
    copy(entries, sink)
    return sink.count


def _owners(source: Place, target: Place, user: str | None) -> Owners:
    from arstore.runtime.copying.target import Owners
    from arstore.runtime.spec.identity.users import resolve_user
    from arstore.runtime.spec.image_files import RootDirectory

    if not target.is_container:
        return Owners((os.geteuid(), os.getegid()), trusted=False)
    if user is None:
        return Owners(None, trusted=True)
    with RootDirectory(f"/proc/self/fd/{target.root}") as root:
        found = resolve_user(user, root)
    return Owners((found.uid, found.gid), trusted=True)


def _stdin() -> Iterable[Copied]:
    from arstore.runtime.copying.tars import TarSource

    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("-", "stdin is a terminal, and a tar is binary", "redirect it")
    return TarSource(sys.stdin.buffer, "stdin")


def _to_stdout(entries: Iterable[Copied]) -> int:
    from arstore.runtime.copying.copy import copy
    from arstore.runtime.copying.tars import TarTarget
    from arstore.transport.sinks.archive import ArchiveFile

    with ArchiveFile("-") as archive:
        sink = TarTarget(archive.write)
        copy(entries, sink)
        archive.finish()
    return sink.count
