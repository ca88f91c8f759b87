"""The images that `manifest.json` lists in an archive that is also a layout (`hybrid`): each is taken or left out."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError
from arstore.transport.docker_archive import NAME
from arstore.transport.names import spellings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.digest import Digest
    from arstore.transport.docker_archive import DockerArchive, Item


class ImageTable:
    """The images that `manifest.json` lists, by the digests of their configs; empty if it cannot be read."""

    def __init__(self, docker: DockerArchive) -> None:
        self._work = docker.facts.work
        self._names: dict[Digest | None, dict[str, None]] = {}
        self._left: dict[int, Item] = {}
        self._by_config: dict[Digest | None, list[int]] = {}
        self._by_name: dict[str, int] = {}
        self._called: dict[tuple[Digest, ...], dict[str, None]] = {}
        listed: Sequence[Item] = ()
        with suppress(ArstoreError):
            listed = docker.items()
        for place, item in enumerate(listed):
            config = None
            with suppress(ArstoreError):
                config = docker.config_digest(item)
            self._left[place] = item
            self._by_config.setdefault(config, []).append(place)
            self._names.setdefault(config, {}).update(dict.fromkeys(item.names))
            self._work.visit(NAME * len(item.names))
            self._by_name.update((spelling, place) for name in item.names for spelling in spellings(name))

    def __len__(self) -> int:
        return len(self._by_config)

    def names(self, configs: tuple[Digest, ...]) -> Mapping[str, None]:
        """The names of the images with these configs, as keys."""
        known = self._called.get(configs)
        if known is None:
            names = (name for config in configs for name in self._names.get(config, ()))
            known = self._called[configs] = dict.fromkeys(names)
            self._work.visit(len(known))
        return known

    def left(self) -> list[Item]:
        """The images that were neither taken nor left out."""
        return list(self._left.values())

    def leave_out(self, configs: Sequence[Digest]) -> None:
        """Leave out the images with these configs."""
        for config in configs:
            for place in self._by_config.get(config, ()):
                self._left.pop(place, None)

    def leave_out_all(self) -> None:
        """Leave out everything."""
        self._left.clear()

    def take(self, config: Digest) -> Item | None:
        """Take the first remaining image with this config; None if none remains."""
        place = next((place for place in self._by_config.get(config, ()) if place in self._left), None)
        return None if place is None else self._left.pop(place)

    def take_named(self, names: Sequence[str]) -> Item | None:
        """Take the remaining image with one of these names, or the only one that remains; None if there is none."""
        place = next((self._by_name[name] for name in names if self._by_name.get(name) in self._left), None)
        if place is None and len(self._left) == 1:
            place = next(iter(self._left))
        return None if place is None else self._left.pop(place)
