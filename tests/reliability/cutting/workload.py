"""Commands of arstore before a power cut: chosen by chance, each with its expected changes."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from support.runnable import PIPELINE_NAMES

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping
    from pathlib import Path

AT_FIRST = ("many:1", "stack:1")
"""Images that exist before the first command."""

_ANY = ("import",) * 6
_WITH_IMAGES = ("rm", "tag", "untag", "convert", "trim", "find", "container", "container", "gc")
_WITH_RUNTIME = ("run", "run", "kept", "detached", "load", "load")
_WRITES = "mkdir /made; for n in 0 1 2 3; do dd if=/dev/urandom of=/made/$n bs=9000 count=$n 2>/dev/null; done"


class Step(NamedTuple):
    """A command: its words, the names that it sets (with the image whose listing they show, "" for their own), the
    names that it removes, and the container that it makes to stay.
    """

    words: list[str]
    sets: Mapping[str, str] = MappingProxyType({})
    drops: tuple[str, ...] = ()
    container: str = ""

    def told(self) -> dict[str, Any]:
        """Return the step as an event."""
        return {"words": self.words, "set": dict(self.sets), "drop": self.drops, "container": self.container}


class Workload:
    """Commands without end; with `box` and `pipeline` among *archives* if containers can run."""

    def __init__(self, chance: random.Random, archives: dict[str, Path]) -> None:
        self._chance = chance
        self._archives = archives
        self._plain = sorted(archives.keys() - {"pipeline"})

    def planned(self, number: int, names: list[str]) -> Iterator[Step]:
        """The next command, or several that belong together, for a store with these *names*."""
        chance = self._chance
        some = chance.choice(names) if names else ""
        kinds = [*_ANY, *(_WITH_IMAGES if some else ()), *(_WITH_RUNTIME if "pipeline" in self._archives else ())]
        match chance.choice(kinds):
            case "import":
                yield self._import(chance.choice(self._plain))
            case "rm":
                yield Step(["rm", some], drops=(some,))
            case "tag":
                yield Step(["tag", some, f"tagged{number}:1"], {f"tagged{number}:1": ""})
            case "untag":
                yield Step(["untag", some], drops=(some,))
            case "convert":
                yield Step(["convert", "--tree", chance.choice(["erofs", "directory"]), some])
            case "gc":
                yield Step(["gc"])
            case "trim":
                yield Step(["trim", *chance.choice([[], ["--free", "200k"], ["--to", "1m"]])])
            case "find":
                yield Step(["find", "--update"])
            case "container":
                yield Step(["mount", "--rw", "--name", f"c{number}", some], container=f"c{number}")
                yield Step(["umount", f"c{number}"])
                yield from self._afterwards(number)
            case "load":
                yield Step(["load", "-i", str(self._archives["pipeline"])], dict.fromkeys(PIPELINE_NAMES, ""))
            case kind:
                yield from self._run(kind, number, names)

    def _import(self, name: str) -> Step:
        form = self._chance.choice(["auto", "directory"])
        digests = self._chance.choice(["auto", "off"])
        return Step(["import", "--tree", form, "--file-digests", digests, str(self._archives[name])], {f"{name}:1": ""})

    def _run(self, kind: str, number: int, names: list[str]) -> Iterator[Step]:
        """A container that is removed after its command, or kept, or detached; files are written in it."""
        if "box:1" not in names:
            yield self._import("box")
        made = f"c{number}"
        command = ["box:1", "/bin/sh", "-c", _WRITES]
        if kind == "run":
            yield Step(["run", "--name", made, *command])
        elif kind == "detached":
            yield Step(["run", "--detach", "--name", made, *command], container=made)
        else:
            yield Step(["run", "--keep", "--name", made, *command], container=made)
            yield Step(["mount", made])
            yield Step(["umount", made])
            yield from self._afterwards(number)

    def _afterwards(self, number: int) -> Iterator[Step]:
        """Commands for a container in which nothing runs."""
        made = f"c{number}"
        if self._chance.random() < 0.7:
            yield Step(["commit", made, f"made{number}:1"], {f"made{number}:1": made})
        if self._chance.random() < 0.5:
            yield Step(["container", "rm", made])
