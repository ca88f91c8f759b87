"""Measurements of arstore's library calls, in a separate process: mounting and unmounting an image.

    python -m benchmarks.inside ROOT RUNROOT mount IMAGE COUNT

The store is open. Each call does all that the command line does after parsing: look up the image, check the state of
its trees, record the mount and make it; then unmount it and remove the record. Prints the milliseconds of each call as
JSON.
"""

from __future__ import annotations

import json
import sys
import time

from arstore.errors import ArstoreError
from arstore.mounts.table import MountTable
from arstore.rootfs.mount import mount_image
from arstore.store.store import Store

_WARM_UP = 3


def mount(root: str, runroot: str, image: str, count: int) -> dict[str, list[float]]:
    """Mount and unmount *image* *count* times, after a few that do not count. Raises ArstoreError, OSError."""
    found: dict[str, list[float]] = {"mount": [], "umount": []}
    with Store(root, runroot) as store:
        table = MountTable(store.directories)
        for number in range(-_WARM_UP, count):
            start = time.perf_counter()
            record = mount_image(store, store.find_image(image))
            mounted = time.perf_counter()
            table.umount(record.id)
            end = time.perf_counter()
            if number >= 0:
                found["mount"].append((mounted - start) * 1000)
                found["umount"].append((end - mounted) * 1000)
    return found


def main() -> int:
    """The command line."""
    root, runroot, what, image, count = sys.argv[1:]
    if what != "mount":
        print(f"inside: nothing is known of {what}", file=sys.stderr)
        return 2
    try:
        print(json.dumps(mount(root, runroot, image, int(count))))
    except (ArstoreError, OSError) as error:
        print(f"inside: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
