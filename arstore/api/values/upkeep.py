"""Results of removals, garbage collection and checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Removal:
    """The result of `remove`, or its plan: names, and digests and chain IDs of all content removed with them.

    `containers` are the ids of the containers that were stopped and removed. `freed` is in bytes on disk. A plan has it
    by kind of content in `parts`; the store's own records change by at most `bound` bytes besides.
    """

    untagged: tuple[str, ...]
    images: tuple[str, ...]
    layers: tuple[str, ...]
    blobs: tuple[str, ...]
    trees: tuple[str, ...]
    freed: int
    attachments: tuple[str, ...]
    containers: tuple[str, ...]
    parts: Mapping[str, int]
    bound: int = 0


@frozen
class Garbage:
    """Unused content that a plan would remove, or that was removed.

    The fields are digests of images, attachments, blobs and trees; chain IDs of layers; ids of containers, leases and
    mounts; names of orphaned files, and of unfinished work below the root (`ingests`) and the runroot (`leftovers`).
    `bytes` is the size on disk.
    """

    images: tuple[str, ...]
    attachments: tuple[str, ...]
    layers: tuple[str, ...]
    blobs: tuple[str, ...]
    trees: tuple[str, ...]
    orphans: tuple[str, ...]
    containers: tuple[str, ...]
    ingests: tuple[str, ...]
    leases: tuple[str, ...]
    mounts: tuple[str, ...]
    leftovers: tuple[str, ...]
    bytes: int


@frozen
class GcPlan:
    """A plan for `Store.apply`, valid as long as the program runs; `parts` has its bytes by kind of content.

    The store's own records change by at most `bound` bytes besides. `basis` is internal.
    """

    garbage: Garbage
    basis: object
    parts: Mapping[str, int]
    bound: int = 0

    @property
    def bytes(self) -> int:
        """Bytes on disk that the plan would free."""
        return self.garbage.bytes


@frozen
class Finding:
    """A finding of `check`.

    `kind` is a word such as `blob-digest`; docs/cli.md lists them under `check`. A `harmless` finding is clutter.
    `images` are the digests of the affected images, `names` their names, in the same order.
    """

    kind: str
    what: str
    why: str
    harmless: bool
    repaired: bool
    images: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]


@frozen
class CheckReport:
    """The findings of `check`, and the number of bytes that it read. `ok` if no damage is left."""

    findings: tuple[Finding, ...]
    bytes: int

    @property
    def ok(self) -> bool:
        """Whether every finding is harmless or repaired."""
        return all(finding.harmless or finding.repaired for finding in self.findings)


@frozen
class Trimmed:
    """The result of `trim`, or its plan: digests of images whose trees were given up, and keys of the trees.

    `freed` is in bytes on disk. `short` is the number of bytes by which the goal was missed. A plan's `bound` is the
    number of bytes by which the store's own records change at most besides.
    """

    images: tuple[str, ...]
    trees: tuple[str, ...]
    freed: int
    short: int
    bound: int = 0


@frozen
class Backup:
    """The result of `backup`: numbers of images and blobs that the backup has.

    `copied` blobs with together `bytes` bytes are new in it, `pruned` were removed from it. `forgotten_images` and
    `forgotten_names` are the numbers of images and names that it had before, and has no longer.
    """

    images: int
    blobs: int
    copied: int
    bytes: int
    pruned: int
    forgotten_images: int
    forgotten_names: int
