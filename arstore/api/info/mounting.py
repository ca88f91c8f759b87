"""The form of new trees and the OCI runtime: which one, and why. Nothing is tried."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from arstore.linux import kernel
from arstore.linux.isolation.capability import MAKES_ANY_FILE
from arstore.mounts.probe import known_answer
from arstore.runtime.discovery import CANDIDATES, installed, remembered
from arstore.trees.forms import AUTO, DIRECTORY, EROFS

if TYPE_CHECKING:
    from typing import Any

    from arstore.disk.paths import Directories

_PATIENCE = 5.0
"""Seconds for a runtime to print its version."""
_LONGEST = 200


def tree_form(
    directories: Directories,
    chosen: str,
    source: str,
    features: dict[str, dict[str, Any]],
    space: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the form of new trees; *chosen* is a form or `auto`, which *source* says; *space* as by `namespaces`."""
    if space is not None and space["possible"]:
        return {"form": DIRECTORY.name, "why": "EROFS indexes cannot be mounted in a user namespace"}
    if lacks := kernel.lacking(*MAKES_ANY_FILE):
        return {"form": None, "why": f"this user cannot build trees: {lacks}"}
    if chosen != AUTO:
        return {"form": chosen, "why": f"chosen by {source}"}
    known = known_answer(directories, EROFS.name)
    if known is not None:
        if known:
            return {"form": EROFS.name, "why": "this host mounts it; tried in this boot"}
        return {"form": DIRECTORY.name, "why": "this host does not mount EROFS indexes; tried in this boot"}
    if why := _no_erofs(features):
        return {"form": DIRECTORY.name, "why": f"EROFS indexes cannot be mounted here: {why}"}
    return {"form": EROFS.name, "why": "expected to work here; the first import tries it"}


def _no_erofs(features: dict[str, dict[str, Any]]) -> str:
    for name in ("mounting", "erofs"):
        if not features[name]["available"]:
            return str(features[name]["detail"])
    if features["erofs_from_files"]["available"] is False and not features["loop_devices"]["available"]:
        return f"{features['erofs_from_files']['detail']}, and {features['loop_devices']['detail']}"
    return ""


def runtime(directories: Directories, chosen: str | None, source: str) -> dict[str, Any]:
    """Return the OCI runtime; *chosen* is a path or a name, which *source* says, or None for the first that works."""
    paths = installed((chosen,) if chosen else CANDIDATES)
    candidates = [{"path": path, "version": _version(path)} for path in installed()]
    if not paths:
        why = f"{chosen}, which {source} chooses, is not a program" if chosen else _none_installed()
        return {"path": None, "version": None, "works": False, "why": why, "candidates": candidates}
    found = remembered(directories.runroot, paths)
    path = paths[0] if found is None else found.path
    how = f"chosen by {source}" if chosen else f"the first of {', '.join(CANDIDATES)}"
    tried = "not tried yet in this boot" if found is None else "has run a container in this boot"
    why = f"{how}; {tried}"
    if found is not None and found.note:
        why = f"{why}; {found.note}"
    works = None if found is None else True
    return {"path": path, "version": _version(path), "works": works, "why": why, "candidates": candidates}


def _none_installed() -> str:
    return f"none of {', '.join(CANDIDATES)} is installed; `apt install crun` or `apt install runc`"


def _version(path: str) -> str | None:
    """Return the first line that the program at *path* prints as its version."""
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False, cwd="/"
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return lines[0][:_LONGEST] if done.returncode == 0 and lines else None
