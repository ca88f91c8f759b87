"""`copy` and `save`: images from one medium to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore import errors
from arstore.cli.command import SOURCE_ERRORS, command, exit_statuses, json_option, limit_option, progress_option
from arstore.cli.parameter import Choice, Range, argument, option
from arstore.cli.terminal.output import write_json, write_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from arstore.cli.session import Session
    from arstore.transport.export.export import Exported, ExportOptions
    from arstore.transport.selection import Wanted
    from arstore.transport.sink import OutgoingImage
    from arstore.transport.sinks.destination import Destination
    from arstore.transport.skipped import SkippedTop

    F = TypeVar("F", bound=Callable[..., Any])

COPY_ERRORS = (*SOURCE_ERRORS, errors.ConversionError, errors.ConflictError, errors.InUseError)
"""What can end a copy."""


def export_options(function: F) -> F:
    """Give a command the options that say what is copied, and in which form."""
    for one in (
        option("--platform", metavar="OS/ARCH[/VARIANT]", help="Copy the image for this platform; else the host's."),
        option("--all-platforms", is_flag=True, help="Copy an index with all its images and attestations."),
        option("--compression", type=Choice(("gzip", "zstd", "none")), help="Compress all layers in this way."),
        option("--compression-level", type=Range(int, 1, 22), help="The level; by default 6 for gzip and 3 for zstd."),
        option("--preserve-digests", is_flag=True, help="Fail rather than change a digest."),
        limit_option,
        progress_option,
        json_option,
    )[::-1]:
        function = one(function)
    return function


@exit_statuses(*COPY_ERRORS)
@command("copy")
@argument("source")
@argument("destination")
@option("--format", type=Choice(("oci", "v2s2")), help="Convert documents to OCI's format, or to Docker's schema 2.")
@export_options
def copy(session: Session, source: str, destination: str, **how: Any) -> None:  # noqa: ANN401 - options
    """Copy images from SOURCE to DESTINATION.

    Both are TRANSPORT:REFERENCE: oci:PATH[:NAME], oci-archive:PATH[:NAME], docker-archive:PATH[:NAME], dir:PATH, or
    store:NAME for an image of the store. SOURCE may also be a path, - for a stream on stdin, or an image of the store;
    DESTINATION a path, or - for an OCI archive on stdout. A path that is a directory, or ends in a slash, is written as
    an OCI layout, any other as an OCI archive.

    Manifests, layers and digests stay as they are, unless an option asks for a conversion or the destination needs one:
    a docker-archive has uncompressed layers and no manifests. Blobs that the destination has are not copied again. An
    OCI layout keeps the images that it has; a file is replaced when the new one is whole.

    Prints a line for each image: its digest at the destination, and its names.
    """
    from arstore.transport.skipped import SkippedTop

    skipped = SkippedTop()
    if destination.startswith("store:"):
        _into_store(session, source, destination, how, skipped)
        return
    from arstore.transport.export.copying import export_reference, export_stored
    from arstore.transport.sinks.archive import refuse_terminal
    from arstore.transport.sinks.destination import parse_destination

    target = parse_destination(destination)
    refuse_terminal(target.path)
    wanted, options = _wanted(how), _options(how)
    with session.progress() as progress:
        if _is_stored(source):
            with session.store() as store:
                texts = [source.removeprefix("store:")]
                done = export_stored(store, texts, target.open, wanted, options, target.name, progress, skipped)
        else:
            from arstore.cli.images.imports import refuse_terminal as refuse_input

            refuse_input(source)
            done = export_reference(source, target.open, wanted, options, target.name, progress, skipped)
    _render(session, target, done, skipped)


@exit_statuses(*COPY_ERRORS)
@command("save")
@argument("images", nargs=-1, required=True)
@option("-o", "--output", metavar="FILE", default="-", help="Write to FILE; - is stdout, and the default.")
@option(
    "--format",
    "kind",
    type=Choice(("oci-archive", "docker-archive", "docker-oci-archive", "oci", "dir")),
    default="oci-archive",
    show_default=True,
    help="What to write; docker-oci-archive is both kinds of archive in one, as Docker 25 and later write.",
)
@export_options
def save(session: Session, images: tuple[str, ...], output: str, kind: str, **how: Any) -> None:  # noqa: ANN401
    """Write images of the store to a file.

    IMAGE is a name, a digest, or a unique start of one. An image named by a digest is written with all its names.
    Manifests, layers and digests stay as they are, but in a docker-archive, which has uncompressed layers and no
    manifests. FILE is replaced when the new one is whole; with --format oci or dir it is a directory.

    Prints a line for each image, unless the archive goes to stdout: its digest in the file, and its names.
    """
    from arstore.transport.export.copying import export_stored
    from arstore.transport.sinks.archive import refuse_terminal
    from arstore.transport.sinks.destination import destination_of
    from arstore.transport.skipped import SkippedTop

    target = destination_of(output, kind)
    refuse_terminal(target.path)
    skipped = SkippedTop()
    with session.store() as store, session.progress() as progress:
        done = export_stored(
            store, images, target.open, _wanted(how), _options(how), progress=progress, skipped=skipped
        )
    _render(session, target, done, skipped)


def _into_store(session: Session, source: str, destination: str, how: dict[str, Any], skipped: SkippedTop) -> None:
    from arstore.cli.images.imports import in_the_store, refuse_terminal, render_taken
    from arstore.tar.limits import Limits, changed
    from arstore.transport.copy import ImportOptions, import_reference

    if _options(how).converts:
        why = "keeps images as they come, so there is nothing to convert"
        raise errors.ConversionError(destination, why, "copy to another medium")
    name = destination.removeprefix("store:").strip()
    if _is_stored(source):
        raise errors.UsageError(source, "is in the store already", "`arstore tag` gives it another name")
    refuse_terminal(source)
    session.tell_confinement()
    options = ImportOptions(name, _wanted(how), limits=changed(how["limit"], Limits()))
    with session.store(create=True) as store:
        with session.progress() as progress:
            taken = import_reference(store, source, options, progress, skipped)
        session.done = in_the_store([image.digest for image in taken])
    render_taken(session, store, taken, skipped)


def _is_stored(source: str) -> bool:
    """Whether *source* means an image of the store: it says so, or is nothing that exists outside."""
    import os

    from arstore.oci.reference import parse_transport

    if source == "-":
        return False
    transport, _ = parse_transport(source)
    return transport == "store" or (not transport and not os.path.lexists(source) and not _looks_like_path(source))


def _looks_like_path(text: str) -> bool:
    return text.startswith(("/", "./", "../"))


def _wanted(how: dict[str, Any]) -> Wanted:
    from arstore.oci.platform import parse
    from arstore.transport.selection import Wanted

    platform, every = how["platform"], how["all_platforms"]
    if platform is not None and every:
        raise errors.UsageError("copy", "--platform and --all-platforms exclude each other")
    return Wanted(None if platform is None else parse(platform), every)


def _options(how: dict[str, Any]) -> ExportOptions:
    from arstore.tar.compression import Compression
    from arstore.tar.limits import Limits, changed
    from arstore.transport.export.export import ExportOptions

    compression = None if how["compression"] is None else Compression(how["compression"])
    level = how["compression_level"]
    if level is not None and (
        compression in {None, Compression.NONE} or (compression is Compression.GZIP and level > 9)
    ):
        raise errors.UsageError(f"--compression-level {level}", "does not fit --compression", "gzip: 1-9, zstd: 1-22")
    return ExportOptions(
        how.get("format") or "",
        compression,
        level,
        how["preserve_digests"],
        how["all_platforms"],
        changed(how["limit"], Limits()),
    )


def _render(session: Session, target: Destination, done: Exported, skipped: SkippedTop) -> None:
    for line in skipped.lines():
        session.note(line)
    if done.sparse:
        noun = "entry" if done.sparse == 1 else "entries"
        session.note(f"{target.what}: {done.sparse} {noun} of an index did not come along; the index lists them still")
    if done.dropped:
        noun = "entry" if done.dropped == 1 else "entries"
        session.note(f"{target.what}: {done.dropped} {noun} of an index did not come along; the new index has no such")
    if session.json:
        document = {
            "images": [_document(image) for image in done.tops],
            "skipped": skipped.documents(),
            "skipped_count": skipped.count,
            "sparse": done.sparse,
            "dropped": done.dropped,
        }
        if target.path == "-":
            return
        write_json(document)
    elif target.path != "-":
        for image in done.tops:
            write_line(image.descriptor.digest, *image.names)


def _document(image: OutgoingImage) -> dict[str, Any]:
    from arstore.oci.chain import chain_ids

    chain: Sequence[str] = chain_ids([layer.diff_id for layer in image.layers])
    return {
        "digest": image.descriptor.digest,
        "media_type": image.descriptor.media_type,
        "config": image.config_digest,
        "names": list(image.names),
        "manifests": list(image.members),
        "layers": [
            {
                "digest": layer.descriptor.digest,
                "diff_id": layer.diff_id,
                "chain_id": chain_id,
                "compressed_size": layer.descriptor.size,
            }
            for layer, chain_id in zip(image.layers, chain, strict=True)
        ],
        "platform": str(image.descriptor.platform or ""),
    }
