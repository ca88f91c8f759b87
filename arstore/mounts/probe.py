"""Whether this host can mount a form of trees: found by mounting one, and remembered until the next boot.

    <runroot>/forms.json   {"boot": …, "device": …, "erofs": true}

The file has an answer for each form that was tried. Answers depend on the kernel, on this process's privileges and on
the file system of the root. The file is rewritten when the boot or the file system differs.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
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
    """Return whether trees of *form* below the root can be mounted. Raises OSError when the root is not writable."""
    path = f"{directories.runroot}/forms.json"
    here = {"boot": boot_id(), "device": os.stat(directories.trees).st_dev}
    if (known := _answers(path, here).get(form.name)) is not None:
        return known
    answer = _try(directories, form)
    with suppress(OSError):
        # Read again: another process may have tried another form in the meantime.
        _write_answer(path, {**_answers(path, here), **here, form.name: answer})
    return answer


def known_answer(directories: Directories, form: str) -> bool | None:
    """Return what was found out in this boot about the form called *form*; None if it was not tried."""
    with suppress(OSError):
        here = {"boot": boot_id(), "device": os.stat(directories.trees).st_dev}
        return _answers(f"{directories.runroot}/forms.json", here).get(form)
    return None


def _answers(path: str, here: dict[str, object]) -> dict[str, bool]:
    """Return the remembered answers by form; none if the file is damaged, or belongs to another boot or device."""
    with suppress(OSError, ValueError, RecursionError), open(path, encoding="ascii") as file:
        found = json.load(file)
        if isinstance(found, dict) and here.items() <= found.items():
            return {name: value for name, value in found.items() if isinstance(value, bool)}
    return {}


def _try(directories: Directories, form: TreeFormat) -> bool:
    """Make an empty tree and mount it; return whether that works."""
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
