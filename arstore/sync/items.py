"""The images of a source: the name of each, how it is opened, and the digest that its name refers to now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.dataclass import dataclass, field
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.digest import Digest
    from arstore.errors import ArstoreError
    from arstore.transport.source import ImageSource, Spool


class ImageName(NamedTuple):
    """The name of an image: the last component of its repository (`short`), the whole (`full`), and tag or digest."""

    short: str
    full: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def suffix(self) -> str:
        """The tag or digest, with its separator."""
        return f":{self.tag}" if self.digest is None else f"@{self.digest}"


class Item(NamedTuple):
    """One image. `what` is its name for messages; `look` returns its digest, None if unknown without a pull.

    `route` is equal for images that are reached in the same way. `is_asked_for` is False for an image that was only
    found in a list: it is skipped if it turns out not to be an image. `path` is the path of a file or a directory.
    """

    what: str
    name: ImageName
    open: Callable[[Spool], ImageSource]
    look: Callable[[], Digest | None]
    route: str
    is_asked_for: bool = True
    path: str = ""


class Tags(NamedTuple):
    """All tags that the source has of one repository; None if they could not be listed."""

    short: str
    full: str
    tags: frozenset[str] | None


class Fault(NamedTuple):
    """Something that could not be read or copied, and the error."""

    what: str
    error: ArstoreError


@dataclass(slots=True)
class Found:
    """The content of a source: `items`, the `tags` of their repositories, and `faults`.

    `attached` counts tags of signatures and other attachments, which do not count as images.
    """

    items: list[Item] = field(default_factory=list)
    tags: list[Tags] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    attached: int = 0
