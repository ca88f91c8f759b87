"""Parts that `copy`, `save` and `push` share: options, their meaning, and output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import SOURCE_ERRORS, json_option, limit_option, progress_option
from arstore.cli.images.encryption import KEY_ERRORS
from arstore.cli.images.referrers import REFERRERS, wants_referrers
from arstore.cli.images.skipped import skipped_lines
from arstore.cli.parameter import Choice, Range, option
from arstore.cli.terminal.output import write_json, write_line
from arstore.cli.trust.rules import POLICY_ERRORS, policy_options
from arstore.cli.trust.signing import SIGNING_ERRORS, copy_signer, signing_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict, TypeVar

    from arstore.api.values.copies import Copied, CopiedImage
    from arstore.cli.images.encryption import DecryptionWords, EncryptionWords
    from arstore.cli.images.referrers import ReferrersWords
    from arstore.cli.registries.options import AccessWords
    from arstore.cli.session import Session
    from arstore.cli.trust.rules import PolicyWords
    from arstore.cli.trust.signing import SigningWords
    from arstore.tar.limits import Limits
    from arstore.transport.signing.signer import Signer
    from arstore.transport.sinks.destination import Destination

    F = TypeVar("F", bound=Callable[..., Any])

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

    class How(TypedDict):
        """The options of `export_options` as arguments of `arstore.Store.copy` and `save`."""

        platform: str
        all_platforms: bool
        referrers: bool | None
        compression: str
        level: int | None
        preserve_digests: bool
        signer: Signer | None
        remove_signatures: bool
        limits: Limits


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
            metavar="N",
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


def how_to_copy(session: Session, words: ExportWords) -> How:
    """Return the options as arguments. Raises UsageError, KeyFileError, NotFoundError, HostError."""
    if words["platform"] is not None and words["all_platforms"]:
        raise errors.UsageError("copy", "--platform and --all-platforms exclude each other")
    return {
        "platform": words["platform"] or "",
        "all_platforms": words["all_platforms"],
        "referrers": wants_referrers(words),
        "compression": words["compression"] or "",
        "level": words["compression_level"],
        "preserve_digests": words["preserve_digests"],
        "signer": copy_signer(words),
        "remove_signatures": words["remove_signatures"],
        "limits": session.limits(words["limit"]),
    }


def render_copied(session: Session, place: Destination, done: Copied) -> None:
    """Print a line for each image that was copied to *place*, or one JSON document; nothing for standard output."""
    for line in skipped_lines(done.skipped, done.skipped_count):
        session.note(line)
    if done.sparse:
        noun = "entry" if done.sparse == 1 else "entries"
        session.note(f"{place.what}: did not copy {done.sparse} {noun} of an index; the index still lists them")
    if done.dropped:
        noun = "entry" if done.dropped == 1 else "entries"
        session.note(f"{place.what}: did not copy {done.dropped} {noun} of an index; the new index leaves them out")
    if done.encrypted:
        noun = "layer was" if done.encrypted == 1 else "layers were"
        session.note(f"{place.what}: {done.encrypted} encrypted {noun} copied without decryption")
    if done.left:
        noun = "attachment" if done.left == 1 else "attachments"
        session.note(f"{place.what}: did not copy {done.left} {noun}: {_why_left(place)}")
    if place.path == "-":
        return
    if session.json:
        write_json(
            {
                "images": [_document(image) for image in done],
                "skipped": [vars(entry) for entry in done.skipped],
                "skipped_count": done.skipped_count,
                "sparse": done.sparse,
                "dropped": done.dropped,
                "encrypted": done.encrypted,
                "attached": done.attached,
                "left": done.left,
            }
        )
        return
    for image in done:
        write_line(image.digest, *image.names)


def _document(image: CopiedImage) -> dict[str, Any]:
    return {**vars(image), "config": image.config or None, "layers": [vars(layer) for layer in image.layers]}


def _why_left(target: Destination) -> str:
    from arstore.transport.sinks.destination import DIR, DOCKER_ARCHIVE

    if target.kind == DOCKER_ARCHIVE:
        return "a docker-archive cannot hold them"
    return "a dir: can only hold simple signatures" if target.kind == DIR else "their image was converted"
