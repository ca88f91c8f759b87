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
from arstore.cli.trust.rules import POLICY_ERRORS, policy_options, policy_rules

if TYPE_CHECKING:
    from typing import Unpack

    from arstore.cli.session import Session
    from arstore.cli.trust.rules import PolicyWords


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

    DIR is created, or must be empty. No mount is needed. An ordinary user gets everything except devices and privileged
    attributes. With subordinate ids, owners are kept, and the copy can be removed in `arstore unshare`; without them,
    all files belong to the user.

    Prints nothing; entries that could not be copied exactly are reported on stderr.

    Example:

    arstore unpack app:1 /srv/app
    """
    with session.library(policy_rules(session, words), reads=True) as library, session.progress() as progress:
        done = library.unpack(image, directory, strict_xattrs=strict_xattrs, progress=progress)
    session.done = f"{directory} contains the root file system"
    if session.json:
        write_json(
            {
                "image": done.digest,
                "path": directory,
                "layers": done.layers,
                "members": done.members,
                "size": done.size,
                "exact": done.exact,
                "left_out": done.left_out,
            }
        )
    elif not done.exact:
        if done.left_out["owners"] or done.left_out["devices"]:
            counts = ", ".join(f"{what} of {count}" for what, count in done.left_out.items() if count)
            session.note(f"this user lacks the privileges to set everything; left out: {counts} entries")
        if done.lost:
            session.warn(done.lost)
