"""OCI hooks: programs of the host that the runtime runs at stages of a container's life.

`--hooks-dir` names directories with JSON files in the format of oci-hooks(5), version 1.0.0. Hooks run with root's
rights outside the container; so no directory is read unless it is named, and an image cannot ask for a hook
(decision 36). Format of the result: OCI runtime-spec config.md, "POSIX-platform Hooks".
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from arstore.errors import UsageError, from_os_error
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.runtime.spec.defaults import Json

STAGES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_LONGEST = 1 << 20
_MOST = 1000
_FIELDS = {"path": str, "args": list, "env": list, "timeout": int}


class Occasion(NamedTuple):
    """The grounds on which hooks are chosen: the command, annotations, whether the container has bind mounts."""

    command: str
    annotations: Mapping[str, str]
    has_bind_mounts: bool


def hooks(directories: Sequence[str], occasion: Occasion) -> Json:
    """Return the `hooks` of config.json: those of all *directories* that fit, by file name; later directories win.

    Raises UsageError for a file that is not a hook, OSError.
    """
    files: dict[str, str] = {}
    for directory in directories:
        try:
            names = [name for name in os.listdir(directory) if name.endswith(".json")]
        except OSError as error:
            raise from_os_error(error, directory) from error
        files |= {name: os.path.join(directory, name) for name in names}
    if len(files) > _MOST:
        raise UsageError("--hooks-dir", f"the directories have more than {_MOST} hooks")
    found: Json = {}
    for _, path in sorted(files.items()):
        document = _read(path)
        if not _fits(document["when"], occasion, path):
            continue
        for stage in document["stages"]:
            found.setdefault(stage, []).append(document["hook"])
    return found


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(_LONGEST + 1)
        document = json.loads(data) if len(data) <= _LONGEST else None
    except OSError as error:
        raise from_os_error(error, path) from error
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or document.get("version") != "1.0.0":
        raise UsageError(path, "not a hook in the format of oci-hooks, version 1.0.0")
    hook, when, stages = document.get("hook"), document.get("when"), document.get("stages")
    if not isinstance(hook, dict) or not isinstance(when, dict) or not isinstance(stages, list):
        raise UsageError(path, "a hook needs hook, when and stages")
    program = hook.get("path")
    if not isinstance(program, str) or not program.startswith("/"):
        raise UsageError(path, "hook.path must be an absolute path")
    for name, value in hook.items():
        kind = _FIELDS.get(name)
        if kind is None or not isinstance(value, kind) or (isinstance(value, list) and not all(map(_is_text, value))):
            raise UsageError(path, f"hook.{name} is not valid")
    if not stages or any(stage not in STAGES for stage in stages):
        raise UsageError(path, f"stages must be some of {', '.join(STAGES)}")
    return document


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _fits(when: dict[str, Any], occasion: Occasion, path: str) -> bool:
    """Whether all conditions hold: each needs one match among its patterns. Without a condition, none does."""
    results = []
    for name, value in when.items():
        if name == "always" and isinstance(value, bool):
            results.append(value)
        elif name == "hasBindMounts" and isinstance(value, bool):
            results.append(value == occasion.has_bind_mounts)
        elif name == "commands" and isinstance(value, list) and all(map(_is_text, value)):
            results.append(any(_search(pattern, occasion.command, path) for pattern in value))
        elif name == "annotations" and isinstance(value, dict) and all(map(_is_text, value.values())):
            results.append(
                all(
                    any(_search(key, k, path) and _search(text, v, path) for k, v in occasion.annotations.items())
                    for key, text in value.items()
                )
            )
        else:
            raise UsageError(path, f"when.{name} is not valid")
    return bool(results) and all(results)


def _search(pattern: str, text: str, path: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except (re.error, RecursionError, OverflowError):
        raise UsageError(path, "has an invalid regular expression") from None
