"""A tree's needs, kept next to it as `needs.json`, so that a chain can be put together later.

The file is a JSON object with the members of `Needs`, byte strings as Latin-1 text (one character per byte). `dropped`,
`[count, members, [[path, name, why], ...]]`, exists only if something was dropped; files of an older arstore lack
`marked` and `passed`. A tree without needs lacks the file. It is deleted with the tree.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from arstore.errors import StoreDamagedError
from arstore.trees.attributes import Dropped
from arstore.trees.format import Needs
from arstore.trees.forms import NEEDS
from arstore.trees.forms import NO_NEEDS as NO_NEEDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

NAME = NEEDS
_HINT = "remove the tree's directory: it is built again when it is used"


def write_needs(tree_fd: int, needs: Needs) -> str:
    """Write the needs, if there are any, into the tree directory *tree_fd*; return the sum for the tree's record.

    Raises OSError.
    """
    if needs == Needs():
        return NO_NEEDS
    fd = os.open(NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=tree_fd)
    from blake3 import blake3

    found = blake3()
    with open(fd, "wb") as file:
        # Binary mode: the codec of text mode would be imported now, which a confined worker cannot do.
        for text in _texts(needs):
            data = text.encode("ascii")
            found.update(data)
            file.write(data)
    return f"{NAME}:{found.hexdigest(16)}"


def _texts(needs: Needs) -> Iterator[str]:
    """Yield the document piece by piece, because it may be long."""
    links = ([path.decode("latin-1"), target.decode("latin-1")] for path, target in needs.absent_links)
    yield '{"implied": ['
    yield from _joined(path.decode("latin-1") for path in needs.implied)
    yield '], "absent_links": ['
    yield from _joined(links)
    for name in ("masked", "marked", "passed"):
        yield f'], "{name}": ['
        yield from _joined(path.decode("latin-1") for path in getattr(needs, name))
    yield "]"
    dropped = needs.dropped
    if dropped.count:
        examples = [[path.decode("latin-1"), name.decode("latin-1"), why] for path, name, why in dropped.examples]
        yield f', "dropped": {json.dumps([dropped.count, dropped.members, examples])}'
    yield "}"


def _joined(values: Iterable[object]) -> Iterator[str]:
    separator = ""
    for value in values:
        yield separator + json.dumps(value)
        separator = ", "


def read_needs(tree_path: str) -> Needs:
    """Return the needs of the tree in the directory *tree_path*.

    Raises OSError, and StoreDamagedError if the file is not as `write_needs` wrote it.
    """
    path = f"{tree_path}/{NAME}"
    try:
        with open(path, encoding="ascii") as file:
            document = json.load(file)
    except FileNotFoundError:
        return Needs()
    except (ValueError, RecursionError) as error:
        raise StoreDamagedError(path, "cannot be read", _HINT) from error
    try:
        return Needs(
            [name.encode("latin-1") for name in document["implied"]],
            [(name.encode("latin-1"), target.encode("latin-1")) for name, target in document["absent_links"]],
            [name.encode("latin-1") for name in document["masked"]],
            [name.encode("latin-1") for name in document.get("marked", [])],
            [name.encode("latin-1") for name in document.get("passed", [])],
            _dropped(document.get("dropped", (0, 0, ()))),
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StoreDamagedError(path, "has unexpected content", _HINT) from error


def _dropped(value: Sequence[Any]) -> Dropped:
    """Decode the counts. Raises ValueError, TypeError or AttributeError for anything else."""
    count, members, examples = value
    if type(count) is not int or type(members) is not int:
        raise TypeError("not a count")
    found = [(path.encode("latin-1"), name.encode("latin-1"), str(why)) for path, name, why in examples]
    return Dropped(count, members, found)
