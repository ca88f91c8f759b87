"""The memory of registry commands, with one layer of 10 GiB that is compressed to 1 GiB: pulled, copied and pushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.archives import huge_layer
from benchmarks.engine import Arstore
from benchmarks.measure import Bar, Contender, Row, Values
from benchmarks.registry import Registry
from benchmarks.sampling import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.ground import Ground

SIZE, PART = 10 << 30, 10
"""Bytes of the layer's file, and its compression ratio."""
_MIB = 1 << 20
_INSECURE = "--tls-verify=false"


def row(ground: Ground) -> Row:
    """Each of the three, once."""
    return _Row(ground).row()


class _Row:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._registry = Registry(ground, "registry-huge")
        self._arstore = Arstore(ground, "arstore")
        self._place = f"{ground.work}/huge"

    def row(self) -> Row:
        """See above."""
        contenders = [
            self._contender("pull", self._fill, lambda image: ("pull", _INSECURE, image)),
            self._contender("copy", self._fill, lambda image: self._copy(f"docker://{image}", f"oci:{self._layout}:1")),
            self._contender("push", self._import, lambda image: ("push", _INSECURE, "huge", f"docker://{image}")),
        ]
        bars = [
            Bar(f"peak memory, {one.label} of a layer of 10 GiB", "pss", one.label, at_most=150, unit="MiB")
            for one in contenders
        ]
        note = "`pss` is the peak of all processes of the command, in MiB. Needs 14 GB on the file system."
        return Row("memory-registry", "Peak memory with a registry", contenders, bars, note, rounds=1)

    @property
    def _archive(self) -> str:
        return f"{self._place}/huge.tar"

    @property
    def _layout(self) -> str:
        return f"{self._place}/layout"

    @property
    def _image(self) -> str:
        return f"{self._registry.address}/huge:1"

    def _copy(self, source: str, target: str) -> tuple[str, ...]:
        return ("copy", _INSECURE, source, target)

    def _fill(self) -> None:
        fill = self._copy(f"oci-archive:{self._archive}", f"docker://{self._image}")
        self._ground.execute(self._arstore.command(*fill))

    def _import(self) -> None:
        self._arstore.import_(self._archive, "huge")

    def _contender(self, label: str, begin: Callable[[], None], words: Callable[[str], tuple[str, ...]]) -> Contender:
        """*words* makes the arguments from the image's name in the registry."""

        def prepare() -> None:
            huge_layer(f"{self._ground.fresh('huge')}/huge.tar", SIZE, PART)
            self._registry.start()
            self._arstore.fresh()
            begin()
            self._ground.settle()

        def sample() -> Values:
            memory = Memory()
            done = self._ground.execute(self._arstore.command(*words(self._image)), memory)
            return {"seconds": [done.seconds], "cpu": [done.cpu], "pss": [memory.pss / _MIB]}

        def clear() -> None:
            self._registry.stop()
            self._arstore.discard()
            self._ground.remove(self._place)

        return Contender(label, sample, prepare=prepare, clear=clear)
