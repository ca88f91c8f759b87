"""The rows: each module makes those of one kind. `ROWS` has them by name, in the order of the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.rows import (
    again,
    commands,
    imports,
    memory,
    mounts,
    pipeline,
    reading,
    registry,
    registry_memory,
    removal,
    sharing,
    space,
    stored,
    streams,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.ground import Ground
    from benchmarks.measure import Row

ROWS: dict[str, Callable[[Ground], Row]] = {
    "import-app1": imports.app1,
    "import-base": imports.base,
    "import-docker": imports.docker,
    "again-app1": again.again,
    "import-app2": again.app2,
    "import-rb3": again.rb3,
    "memory": memory.row,
    "space": space.row,
    "stored-docker": stored.docker,
    "stored-related": stored.related,
    "mount-app1": mounts.app1,
    "mount-m100": mounts.m100,
    "mount-400": mounts.deep,
    "sharing": sharing.row,
    "command-images": commands.images,
    "command-mount": commands.mount,
    "command-tag": commands.tag,
    "run-base": commands.run,
    "stream-out": streams.written,
    "stream-in": streams.read,
    "pull-app1": registry.pull,
    "pull-again": registry.pull_again,
    "copy-layout": registry.layout,
    "copy-layout-again": registry.layout_again,
    "push-app1": registry.push,
    "push-again": registry.push_again,
    "memory-registry": registry_memory.row,
    "load-app1": pipeline.row,
    "remove-app1": removal.row,
    "read-app1": reading.row,
}
