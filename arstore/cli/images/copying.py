"""Parts that `copy`, `save` and `push` share: options, their meaning, and output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import SOURCE_ERRORS, json_option, limit_option, progress_option
from arstore.cli.images.encryption import KEY_ERRORS, DecryptionWords, EncryptionWords
from arstore.cli.images.referrers import REFERRERS, ReferrersWords, wants_referrers
from arstore.cli.parameter import Choice, Range, option
from arstore.cli.registries.options import AccessWords
from arstore.cli.terminal.output import write_json, write_line
from arstore.cli.trust.rules import POLICY_ERRORS, PolicyWords, policy_options
from arstore.cli.trust.signing import SIGNING_ERRORS, SigningWords, copy_signer, signing_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from arstore.cli.session import Session
    from arstore.transport.export.encryption import Encryption
    from arstore.transport.export.export import Exported, ExportOptions
    from arstore.transport.selection.selector import Wanted
    from arstore.transport.sink import OutgoingImage
    from arstore.transport.sinks.destination import Destination
    from arstore.transport.skipped import SkippedTop

    F = TypeVar("F", bound=Callable[..., Any])

COPY_ERRORS = (
    *SOURCE_ERRORS,
    *POLICY_ERRORS,
    *SIGNING_ERRORS,
    *KEY_ERRORS,
    errors.ConversionError,
    errors.ConflictError,
    errors.InUseError,
)
"""Errors of commands that copy images."""


class ExportWords(ReferrersWords, PolicyWords, SigningWords):
    """The options of `export_options` as they were typed."""

    platform: str | None
    all_platforms: bool
    compression: str | None
    compression_level: int | None
    preserve_digests: bool
    limit: tuple[str, ...]


class CopyWords(ExportWords, AccessWords):
    """The options of `export_options`, of registries, and --format, as they were typed."""

    format: str | None


class PushWords(CopyWords, EncryptionWords):
    """The options of `CopyWords`, and those that encrypt."""


class AllWords(PushWords, DecryptionWords):
    """The options of `copy`."""


class SaveWords(ExportWords, EncryptionWords):
    """The options of `save`."""


def export_options(function: F) -> F:
    """Add the options that decide what is copied, and in which format, to a command."""
    for one in (
        option(
            "--platform", metavar="OS/ARCH[/VARIANT]", help="Copy the image for this platform; by default the host's."
        ),
        option("--all-platforms", is_flag=True, help="Copy an index with all its images and attestations."),
        *REFERRERS,
        option(
            "--compression",
            type=Choice(("gzip", "zstd", "none")),
            help="Recompress layers that have another compression.",
        ),
        option(
            "--compression-level",
            type=Range(int, 1, 22),
            help="The compression level; by default 6 for gzip and 3 for zstd.",
        ),
        option("--preserve-digests", is_flag=True, help="Fail if a digest would change."),
        policy_options,
        signing_options,
        limit_option,
        progress_option,
        json_option,
    )[::-1]:
        function = one(function)
    return function


format_option = option(
    "--format",
    type=Choice(("oci", "v2s2")),
    help="Convert manifests and indexes to OCI's format, or to Docker's schema 2.",
)
"""Adds `--format` to a command."""


def wanted_platforms(words: ExportWords) -> Wanted:
    """Return which images of an index are to be copied. Raises UsageError."""
    from arstore.oci.platform import parse
    from arstore.transport.selection.selector import Wanted

    platform, every = words["platform"], words["all_platforms"]
    if platform is not None and every:
        raise errors.UsageError("copy", "--platform and --all-platforms exclude each other")
    return Wanted(None if platform is None else parse(platform), every, wants_referrers(words))


def how_to_copy(
    session: Session, words: ExportWords, form: str | None = None, encryption: Encryption | None = None
) -> ExportOptions:
    """Return the options as values; *form* is the value of --format. Raises UsageError."""
    from arstore.tar.compression import Compression
    from arstore.transport.export.export import ExportOptions

    compression = None if words["compression"] is None else Compression(words["compression"])
    level = words["compression_level"]
    if level is not None and (
        compression in {None, Compression.NONE} or (compression is Compression.GZIP and level > 9)
    ):
        raise errors.UsageError(f"--compression-level {level}", "does not fit --compression", "gzip: 1-9, zstd: 1-22")
    return ExportOptions(
        form or "",
        compression,
        level,
        words["preserve_digests"],
        words["all_platforms"],
        session.limits(words["limit"]),
        encryption,
        copy_signer(words),
        words["remove_signatures"],
    )


def render_copied(session: Session, target: Destination, done: Exported, skipped: SkippedTop) -> None:
    """Print a line for each copied image, or one JSON document; nothing if the archive goes to stdout."""
    for line in skipped.lines():
        session.note(line)
    if done.sparse:
        noun = "entry" if done.sparse == 1 else "entries"
        session.note(f"{target.what}: did not copy {done.sparse} {noun} of an index; the index still lists them")
    if done.dropped:
        noun = "entry" if done.dropped == 1 else "entries"
        session.note(f"{target.what}: did not copy {done.dropped} {noun} of an index; the new index leaves them out")
    if done.locked:
        noun = "layer was" if done.locked == 1 else "layers were"
        session.note(f"{target.what}: {done.locked} encrypted {noun} copied without decryption")
    if done.left:
        noun = "attachment" if done.left == 1 else "attachments"
        session.note(f"{target.what}: did not copy {done.left} {noun}: {_why_left(target)}")
    if session.json:
        document = {
            "images": [_document(image) for image in done.tops],
            "skipped": skipped.documents(),
            "skipped_count": skipped.count,
            "sparse": done.sparse,
            "dropped": done.dropped,
            "encrypted": done.locked,
            "attached": done.attached,
            "left": done.left,
        }
        if target.path == "-":
            return
        write_json(document)
    elif target.path != "-":
        for image in done.tops:
            write_line(image.descriptor.digest, *image.names)


def _why_left(target: Destination) -> str:
    from arstore.transport.sinks.destination import DIR, DOCKER_ARCHIVE

    if target.kind == DOCKER_ARCHIVE:
        return "a docker-archive cannot hold them"
    return "a dir: can only hold simple signatures" if target.kind == DIR else "their image was converted"


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
