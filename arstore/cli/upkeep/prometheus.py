"""`du --format prometheus`: metrics in the text format 0.0.4 of Prometheus, for node_exporter's textfile collector.

Images have metrics only if they are named on the command line: each one would be another time series in Prometheus.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from arstore.cli.terminal.output import printable, write_shown
from arstore.disk.free_space import free_space

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arstore.disk.paths import Directories
    from arstore.maintenance.disk_usage import Usage

_ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
"""Escapes in the values of labels."""

Sample = tuple[dict[str, str], float]


def write_metrics(directories: Directories, usage: Usage, chosen: bool) -> None:
    """Write the metrics, with those of the images that were *chosen*. Raises OSError, HostError."""
    write_shown(metrics(directories, usage, chosen, time.time()).encode())


def metrics(directories: Directories, usage: Usage, chosen: bool, moment: float) -> str:
    """Return the metrics of a *usage* that was measured at *moment*, in seconds since the epoch. Raises OSError."""
    root = {"root": directories.root}
    free, size = free_space(directories.root)
    assert usage.basis is not None
    count = len(usage.basis.shares.images)
    parts = [({**root, "kind": kind}, size) for kind, size in usage.parts().items()]
    found = [
        _metric("arstore_store_bytes", "Disk space that the store takes, by kind.", parts),
        _metric("arstore_store_reclaimable_bytes", "Disk space that gc would free.", [(root, usage.reclaimable)]),
        _metric("arstore_images", "Number of images and indexes.", [(root, count)]),
        _metric("arstore_file_system_size_bytes", "Size of the file system of the store.", [(root, size)]),
        _metric("arstore_file_system_free_bytes", "Free space on the file system of the store.", [(root, free)]),
        _metric("arstore_store_measured_timestamp_seconds", "When it was measured.", [(root, int(moment))]),
    ]
    if chosen:
        labels = [{**root, "image": (one.names or (one.digest,))[0], "digest": one.digest} for one in usage.images]
        for name, words in (
            ("size", "Disk space of an image with its shared layers."),
            ("unique", "Disk space that removing the image would free."),
        ):
            values = [(own, getattr(one, name)) for own, one in zip(labels, usage.images, strict=True)]
            found.append(_metric(f"arstore_image_{name}_bytes", words, values))
    return "".join(found)


def _metric(name: str, words: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {words}", f"# TYPE {name} gauge"]
    lines += [f"{name}{{{_labels(labels)}}} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{printable(value).translate(_ESCAPED)}"' for key, value in labels.items())
