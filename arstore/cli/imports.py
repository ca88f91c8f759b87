"""`import`: images from files and streams into the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from arstore import errors
from arstore.cli.command import (
    SOURCE_ERRORS,
    Command,
    exit_statuses,
    json_option,
    limit_option,
    pass_session,
    progress_option,
    strict_xattrs_option,
)
from arstore.cli.option import option
from arstore.cli.output import write_json, write_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.cli.session import Session
    from arstore.store.incoming import TakenImage
    from arstore.store.store import Store, StoredImage
    from arstore.tar.limits import Limits
    from arstore.transport.copy import ImportOptions

FORMS = ("auto", "directory", "erofs")


@exit_statuses(*SOURCE_ERRORS)
@click.command("import", cls=Command)
@click.argument("source")
@option("--name", metavar="NAME[:TAG]", default="", help="The image's name, in place of those it brings.")
@option("--platform", metavar="OS/ARCH[/VARIANT]", help="Which image of an index; by default the host's.")
@option("--all-platforms", is_flag=True, help="All images of an index, and the index itself.")
@option("--tree", type=click.Choice(FORMS), default="auto", show_default=True, help="The form of new trees.")
@limit_option
@strict_xattrs_option
@progress_option
@json_option
@pass_session
def import_(
    session: Session,
    source: str,
    name: str,
    platform: str | None,
    all_platforms: bool,
    tree: str,
    limit: tuple[str, ...],
    strict_xattrs: bool,
) -> None:
    """Bring images into the store.

    SOURCE is a path, - for a stream on stdin, or TRANSPORT:REFERENCE with one of oci:PATH[:NAME],
    oci-archive:PATH[:NAME], docker-archive:PATH[:NAME], dir:PATH. What a path holds is told from its content: an OCI
    archive or layout directory, a docker-archive or a dir:, perhaps compressed with gzip, zstd, xz or bzip2. All its
    images come in with all their names, or, when anything is wrong, none of them.

    Prints a line an image: its digest and its names. Extended attributes that cannot be kept are left out; how many
    is printed to stderr.
    """
    from arstore.tar.limits import Limits, changed
    from arstore.transport.copy import import_reference

    refuse_terminal(source)
    if platform is not None and all_platforms:
        raise errors.UsageError("import", "--platform and --all-platforms exclude each other")
    session.tell_confinement()
    with session.store() as store:
        limits = changed(limit, Limits(strict_xattrs=strict_xattrs))
        options = _options(store, name, platform, all_platforms, tree, limits)
        if not store.tree_forms(options.tree):
            session.note("no trees are built, because this user may not; `arstore unpack` needs none")
        with session.progress() as progress:
            taken = import_reference(store, source, options, progress)
        indexes = _indexes(store, taken) if all_platforms else []
    _render(session, taken, indexes)


def refuse_terminal(source: str) -> None:
    """Raise UsageError when *source* means standard input, and that is a terminal, from which no archive comes."""
    from arstore.transport.location import STREAM, parse_location

    if parse_location(source).path == STREAM and os.isatty(0):
        raise errors.UsageError(source, "standard input is a terminal", "pipe an archive into it, or name a file")


def _options(
    store: Store, name: str, platform: str | None, all_platforms: bool, tree: str, limits: Limits
) -> ImportOptions:
    from arstore.oci.platform import parse
    from arstore.transport.copy import ImportOptions
    from arstore.transport.selection import Wanted

    if tree != "auto" and tree not in store.forms:
        known = ", ".join(sorted(store.forms))
        raise errors.UsageError(f"--tree {tree}", "this arstore does not build such trees", f"it builds: {known}")
    wanted = Wanted(None if platform is None else parse(platform), all_platforms)
    return ImportOptions(name, wanted, tree, limits=limits)


def _indexes(store: Store, taken: Sequence[TakenImage]) -> list[StoredImage]:
    """The indexes in the store that list any of these images."""
    digests = {image.digest for image in taken}
    return [image for image in store.images() if not digests.isdisjoint(image.record.manifests)]


def _render(session: Session, taken: Sequence[TakenImage], indexes: Sequence[StoredImage]) -> None:
    if session.json:
        document: dict[str, Any] = {"images": [image_document(image) for image in taken]}
        if indexes:
            document["indexes"] = [
                {"digest": i.digest, "names": list(i.names), "manifests": list(i.record.manifests)} for i in indexes
            ]
        write_json(document)
        return
    for index in indexes:
        write_line(index.digest, *index.names)
    for image in taken:
        write_line(image.digest, *image.names)


def image_document(image: TakenImage) -> dict[str, Any]:
    """An image that came in, as JSON tells it.

    `digest`, `config`, `names`, `layers` (bottom first), `platform`; `dropped_xattrs` counts the extended attributes
    that its trees do not have.
    """
    return {
        "digest": image.digest,
        "config": image.config,
        "names": list(image.names),
        "layers": [
            {
                "digest": layer.digest,
                "diff_id": layer.diff_id,
                "chain_id": layer.chain_id,
                "size": layer.size,
                "compressed_size": layer.compressed_size,
                "reused": layer.reused,
            }
            for layer in image.layers
        ],
        "platform": image.platform,
        "dropped_xattrs": sum(layer.dropped for layer in image.layers),
    }
