"""`import --rootfs`: an image of a plain tar of a root file system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.images.created import creation_time
from arstore.cli.images.imports import check_tree, in_the_store, refuse_terminal, render_taken

if TYPE_CHECKING:
    from arstore.cli.images.imports import ImportWords
    from arstore.cli.session import Session


def import_rootfs(
    session: Session,
    source: str,
    name: str | None,
    changes: tuple[str, ...],
    message: str,
    timestamp: int | None,
    words: ImportWords,
) -> None:
    """Do what `import --rootfs` does."""
    from arstore.oci.instruction import Instruction
    from arstore.oci.platform import host, parse
    from arstore.tar.limits import Limits, changed
    from arstore.transport.root_tar import RootTarOptions, import_root_tar
    from arstore.transport.skipped import SkippedTop

    if words["all_platforms"]:
        raise errors.UsageError("--all-platforms", "a root file system is of one platform", "--platform says which")
    if name is not None and words["name"]:
        raise errors.UsageError(name, "and --name exclude each other", "give one name")
    wanted = name or words["name"]
    if not wanted:
        raise errors.UsageError("--rootfs", "needs a name for the image", "arstore import --rootfs TAR NAME")
    refuse_terminal(source)
    platform = words["platform"]
    options = RootTarOptions(
        wanted,
        host() if platform is None else parse(platform),
        creation_time() if timestamp is None else timestamp,
        message,
        tuple(Instruction.parse(text) for text in changes),
        words["tree"],
        changed(words["limit"], Limits(strict_xattrs=words["strict_xattrs"])),
    )
    session.tell_confinement()
    with session.store(create=True) as store:
        check_tree(store, words["tree"])
        with session.progress() as progress:
            taken = [import_root_tar(store, source, options, progress)]
        session.done = in_the_store([image.digest for image in taken])
    render_taken(session, store, taken, SkippedTop())
