"""The options of `import --rootfs`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.images.created import creation_time

if TYPE_CHECKING:
    from arstore.tar.limits import Limits
    from arstore.transport.root_tar import RootTarOptions


def root_tar_options(
    name: str,
    platform: str | None,
    changes: tuple[str, ...],
    message: str,
    timestamp: int | None,
    tree: str,
    limits: Limits,
) -> RootTarOptions:
    """Return the options as values. Raises UsageError, InvalidReferenceError."""
    from arstore.oci.instruction import Instruction
    from arstore.oci.platform import host, parse
    from arstore.transport.root_tar import RootTarOptions

    if not name:
        raise errors.UsageError("--rootfs", "needs a name for the image", "`arstore import --rootfs TAR NAME`")
    return RootTarOptions(
        name,
        host() if platform is None else parse(platform),
        creation_time() if timestamp is None else timestamp,
        message,
        tuple(Instruction.parse(text) for text in changes),
        tree,
        limits,
    )
