"""`unpack`: copy an image's root file system to a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import (
    IMAGE_ERRORS,
    command,
    exit_statuses,
    json_option,
    needing,
    progress_option,
    strict_xattrs_option,
)
from arstore.cli.namespace import Need
from arstore.cli.parameter import FilePath, argument
from arstore.cli.terminal.output import write_json
from arstore.cli.trust.rules import POLICY_ERRORS, PolicyWords, policy_options, require_admitted

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.cli.session import Session
    from arstore.trees.directory.unpacker import UnpackReport


@exit_statuses(
    *IMAGE_ERRORS,
    errors.ConflictError,
    errors.DigestMismatchError,
    errors.SizeMismatchError,
    errors.TruncatedError,
    errors.CompressionError,
    errors.ManifestError,
    errors.MissingBlobError,
    errors.PlatformError,
    errors.TarError,
    errors.UnsafePathError,
    *POLICY_ERRORS,
)
@needing(Need.OWNERS)
@command("unpack")
@argument("image")
@argument("directory", metavar="DIR", type=FilePath())
@strict_xattrs_option
@policy_options
@progress_option
@json_option
def unpack(session: Session, image: str, directory: str, strict_xattrs: bool, **words: Unpack[PolicyWords]) -> None:
    """Copy an image's root file system to a directory.

    DIR is created, or must be empty. No mount is needed. An ordinary user gets everything except owners, devices and
    privileged attributes.

    Prints nothing; entries that could not be copied exactly are reported on stderr.

    Example:

    arstore unpack app:1 /srv/app
    """
    from arstore.rootfs.unpack import unpack_image

    with session.store(reads=True) as store:
        found = store.find_image(image)
        require_admitted(session, store, found, words)
        with session.progress() as progress:
            report = unpack_image(store, found, directory, progress, strict_xattrs=strict_xattrs)
    session.done = f"{directory} contains the root file system"
    if session.json:
        write_json(
            {
                "image": found.digest,
                "path": directory,
                "layers": report.layers,
                "members": report.members,
                "size": report.size,
                "exact": report.is_exact,
                "left_out": _left_out(report),
            }
        )
    elif not report.is_exact:
        if report.owners.count or report.devices.count:
            counts = ", ".join(f"{what} of {count}" for what, count in _left_out(report).items() if count)
            session.note(f"this user lacks the privileges to set everything; left out: {counts} entries")
        if report.attributes.count:
            session.warn(str(report.attributes))


def _left_out(report: UnpackReport) -> dict[str, int]:
    """Return the number of entries without their owner, their attributes, or missing as devices."""
    return {
        "owners": report.owners.count,
        "devices": report.devices.count,
        "attributes": report.attributes.members,
    }
