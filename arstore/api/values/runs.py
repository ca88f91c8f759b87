"""Results of `unpack`, `run` and `load`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.api.values.imports import ImportedImage


@frozen
class Unpacked:
    """The result of `unpack`: numbers of `layers` and entries (`members`), and the `size` of all file content in bytes.

    `exact` is False if this user could not set all metadata; `left_out` then has the numbers of entries without their
    `owners`, `devices` and `attributes`. `lost` is a sentence about attributes that could not be set, or "".
    """

    digest: str
    path: str
    layers: int
    members: int
    size: int
    exact: bool
    left_out: Mapping[str, int]
    lost: str = ""


@frozen
class Ended:
    """The end of a container.

    `status` is the exit status of its command, or 128 + N if signal N ended it. `oom_killed` is True if the kernel
    killed one of its processes because memory ran out.
    """

    status: int
    oom_killed: bool = False


@frozen
class Loaded:
    """The result of `load`.

    `image` and `names` are the pipeline's, `container` is the id of its container. `images` were imported from its
    output. `kept` are paths below the images directory that stayed there. `set_aside` is the directory with the files
    of an earlier failed run, or "". `ran` is False if the last run had succeeded and only its images had to be
    imported; `status` is then None. `oom_killed` is True if the kernel killed a process of the pipeline because memory
    ran out. `seconds` has the duration of each part: `import`, `run`, `leavings`.
    """

    image: str
    names: tuple[str, ...]
    ran: bool
    status: int | None
    images: tuple[ImportedImage, ...]
    kept: tuple[str, ...]
    set_aside: str
    seconds: Mapping[str, float]
    container: str = ""
    oom_killed: bool = False
