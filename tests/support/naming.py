"""A store and the names of its images, as the base of state machines that know the expected content."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from support import images, stores

NAMES = [f"name{n}:1" for n in range(4)]


def named(part: images.Picture | images.Collection, names: Sequence[str]) -> images.Picture | images.Collection:
    """The same image or index under other names."""
    if isinstance(part, images.Picture):
        return images.Picture(part.layers, part.config, part.manifest, tuple(names), part.docker)
    return images.Collection(part.parts, part.raw, tuple(names), part.docker)


class Naming(RuleBasedStateMachine):
    """`images` are the digests of the images that exist, and `names` the digest of each name."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="arstore-machine-"))
        self.store = stores.opened(self.place)
        self.images: set[str] = set()
        self.names: dict[str, str] = {}

    def teardown(self) -> None:
        """Close the store, and remove it."""
        self.store.close()
        shutil.rmtree(self.place)

    @precondition(lambda self: self.images)
    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def tag(self, data: Any, name: str) -> None:
        """Give one of the images a name, which another one may have had."""
        digest = data.draw(st.sampled_from(sorted(self.images)))
        self.store.tag(digest, name)
        self.names[name] = digest

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def untag(self, data: Any) -> None:
        """Remove one of the names."""
        name = data.draw(st.sampled_from(sorted(self.names)))
        self.store.untag(name)
        del self.names[name]
