"""Which form of trees this host can mount: found by mounting one, and remembered for as long as the host is up.

    <runroot>/forms.json   {"boot": …, "device": …, "erofs": true}

The answer depends on the kernel, on this process's rights and on the file system that the root lies on; the file is
made again when boot or file system differ, and a process that may not mount asks for itself.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from arstore.disk.staging import Ingest
from arstore.errors import MountError
from arstore.linux.files.writing import replace_file
from arstore.linux.process import boot_id
from arstore.mounts.leftovers import passing_name

if TYPE_CHECKING:
    from arstore.disk.paths import Directories
    from arstore.trees.format import TreeFormat


def can_mount(directories: Directories, form: TreeFormat) -> bool:
    """Whether trees of *form* below the root can be mounted here. Raises OSError when the root cannot be written."""
    path = f"{directories.runroot}/forms.json"
    known = {"boot": boot_id(), "device": os.stat(directories.trees).st_dev}
    with contextlib.suppress(OSError, ValueError, RecursionError), open(path, encoding="ascii") as file:
        found = json.load(file)
        if isinstance(found, dict) and known.items() <= found.items() and isinstance(found.get(form.name), bool):
            return bool(found[form.name])
    answer = _try(directories, form)
    with contextlib.suppress(OSError):
        _write(path, {**known, form.name: answer})
    return answer


def _try(directories: Directories, form: TreeFormat) -> bool:
    """Make an empty tree and mount it."""
    with Ingest(directories) as ingest:
        tree = ingest.directory("probe")
        if form.keeps_tar:
            with open(f"{tree}/layer.tar", "wb") as tar:
                tar.write(bytes(1024))
        fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        builder = form.builder(fd)
        try:
            builder.finish()
        finally:
            builder.close()
            os.close(fd)
        try:
            with form.lower(tree):
                return True
        except (OSError, MountError):
            return False


def _write(path: str, answer: dict[str, object]) -> None:
    temporary = f"{os.path.dirname(path)}/{passing_name(os.path.basename(path))}"
    replace_file(path, json.dumps(answer).encode(), temporary)
