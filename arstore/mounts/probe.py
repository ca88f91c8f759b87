"""Which form of trees this host can mount: found by mounting one, and remembered for as long as the host is up.

    <runroot>/forms.json   {"boot": …, "device": …, "erofs": true}

The file has an answer for each form that was tried. Answers depend on the kernel, on this process's rights and on the
file system that the root lies on; the file is made again when boot or file system differ, and a process that may not
mount asks for itself.
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
from arstore.trees.forms import TAR

if TYPE_CHECKING:
    from arstore.disk.paths import Directories
    from arstore.trees.format import TreeFormat


def can_mount(directories: Directories, form: TreeFormat) -> bool:
    """Whether trees of *form* below the root can be mounted here. Raises OSError when the root cannot be written."""
    path = f"{directories.runroot}/forms.json"
    here = {"boot": boot_id(), "device": os.stat(directories.trees).st_dev}
    if (known := _answers(path, here).get(form.name)) is not None:
        return known
    answer = _try(directories, form)
    with contextlib.suppress(OSError):
        # Read again: another process may have tried another form meanwhile.
        _write_answer(path, {**_answers(path, here), **here, form.name: answer})
    return answer


def _answers(path: str, here: dict[str, object]) -> dict[str, bool]:
    """The answers that were remembered, by the name of the form; none where the file is not of *here*, or damaged."""
    with contextlib.suppress(OSError, ValueError, RecursionError), open(path, encoding="ascii") as file:
        found = json.load(file)
        if isinstance(found, dict) and here.items() <= found.items():
            return {name: value for name, value in found.items() if isinstance(value, bool)}
    return {}


def _try(directories: Directories, form: TreeFormat) -> bool:
    """Make an empty tree and mount it."""
    with Ingest(directories) as ingest:
        tree = ingest.directory("probe")
        if form.properties.keeps_tar:
            with open(f"{tree}/{TAR}", "wb") as tar:
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


def _write_answer(path: str, answer: dict[str, object]) -> None:
    temporary = f"{os.path.dirname(path)}/{passing_name(os.path.basename(path))}"
    replace_file(path, json.dumps(answer).encode(), temporary)
