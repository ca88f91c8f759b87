"""The images that a source has: what each is called, how it is opened, and what its name stands for now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.digest import Digest
    from arstore.errors import ArstoreError
    from arstore.transport.source import ImageSource, Spool


class ImageName(NamedTuple):
    """What an image is called: the last component of its repository (`short`), all of it (`full`), tag or digest."""

    short: str
    full: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def suffix(self) -> str:
        """What stands behind the repository."""
        return f":{self.tag}" if self.digest is None else f"@{self.digest}"


class Item(NamedTuple):
    """One image. `what` is for people; `look` says what the name stands for, None where that takes more than a look.

    `route` is the same for images that are reached in the same way. `is_asked_for` is False for one that was only
    found, in a list: when that turns out to be no image, it is passed over. `path` is that of a file or a directory.
    """

    what: str
    name: ImageName
    open: Callable[[Spool], ImageSource]
    look: Callable[[], Digest | None]
    route: str
    is_asked_for: bool = True
    path: str = ""


class Tags(NamedTuple):
    """All tags that the source has of one repository, None where that could not be found out."""

    short: str
    full: str
    tags: frozenset[str] | None


class Fault(NamedTuple):
    """What could not be looked at or copied, and why."""

    what: str
    error: ArstoreError


@dataclass(slots=True)
class Found:
    """What a source has: `items`, the `tags` of the repositories that they are of, and what could not be looked at.

    `attached` counts tags of signatures and the like, which are not taken for images.
    """

    items: list[Item] = field(default_factory=list)
    tags: list[Tags] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    attached: int = 0
