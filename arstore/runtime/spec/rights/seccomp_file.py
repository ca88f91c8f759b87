"""A seccomp profile from the user: a file in the form of docker's and podman's profiles, or of the runtime-spec.

Besides the runtime-spec (config-linux.md, "Seccomp"), those have `archMap`, names of error numbers, and rules for
particular architectures, capabilities or kernels (`includes`, `excludes`). A profile with unknown content is refused,
because leaving a rule out could allow something.
"""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

from arstore.errors import UsageError, from_os_error
from arstore.runtime.spec.rights.seccomp import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Collection

    from arstore.runtime.spec.rights.seccomp import Json

_LIMIT = 4 << 20
_ACTIONS = frozenset(
    f"SCMP_ACT_{name}"
    for name in ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "NOTIFY", "TRACE", "TRAP"]
)
_OPERATORS = frozenset(f"SCMP_CMP_{name}" for name in ["EQ", "GE", "GT", "LE", "LT", "MASKED_EQ", "NE"])
_GO_NAMES = {"x86_64": "amd64", "i686": "x86", "aarch64": "arm64", "armv7l": "arm"}
"""Names of architectures in `includes` and `excludes` that differ from those of uname(2)."""

_TOP = frozenset(
    [
        "defaultAction",
        "defaultErrno",
        "defaultErrnoRet",
        "architectures",
        "archMap",
        "flags",
        "listenerPath",
        "listenerMetadata",
        "syscalls",
    ]
)
_RULE = frozenset(["name", "names", "action", "args", "comment", "errno", "errnoRet", "includes", "excludes"])
_ARGUMENT = frozenset(["index", "op", "value", "valueTwo"])
_CONDITIONS = frozenset(["arches", "caps", "minKernel"])


class _RefusedError(ValueError):
    """The reason why a profile cannot be used."""


def load_profile(path: str, capabilities: Collection[str], machine: str = "", release: str = "") -> Json:
    """Return the `linux.seccomp` section from the file *path*, for a container with these capabilities.

    *machine* and *release* are as in uname(2), by default this host's. Raises UsageError if the file is not a profile,
    NotFoundError, OSError.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise from_os_error(error, path) from error
    if len(data) > _LIMIT:
        raise UsageError(path, f"is not a seccomp profile: larger than {_LIMIT >> 20} MiB")
    try:
        return _Reader(capabilities, machine or os.uname().machine, release or os.uname().release).section(
            json.loads(data)
        )
    except _RefusedError as error:
        raise UsageError(path, f"is not a seccomp profile: {error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(path, "is not a seccomp profile: not JSON") from error


class _Reader:
    def __init__(self, capabilities: Collection[str], machine: str, release: str) -> None:
        self._capabilities = {f"CAP_{name}" for name in capabilities}
        self._machine = machine
        self._architecture = _GO_NAMES.get(machine, machine)
        self._release = _numbers(release)

    def section(self, document: object) -> Json:
        """Return the whole section. Raises _RefusedError."""
        profile = _object(document, _TOP, "the profile")
        section: Json = {"defaultAction": _one_of(profile.get("defaultAction"), _ACTIONS, "defaultAction")}
        number = _error_number(profile, "defaultErrno", "defaultErrnoRet")
        if number is not None:
            section["defaultErrnoRet"] = number
        section["architectures"] = self._architectures(profile)
        if flags := profile.get("flags"):
            section["flags"] = _texts(flags, "flags")
        if profile.get("listenerPath"):
            raise _RefusedError("a profile with a listener cannot be used")
        rules = profile.get("syscalls")
        rules = [] if rules is None else rules
        if not isinstance(rules, list):
            raise _RefusedError("syscalls is not a list")
        section["syscalls"] = [made for rule in rules if (made := self._rule(rule)) is not None]
        return section

    def _architectures(self, document: Json) -> list[str]:
        if document.get("architectures") and document.get("archMap"):
            raise _RefusedError("it has both architectures and archMap")
        if document.get("architectures"):
            return _texts(document["architectures"], "architectures")
        own = ARCHITECTURES.get(self._machine, [])
        for entry in document.get("archMap") or []:
            if not isinstance(entry, dict):
                raise _RefusedError("an entry of archMap is not an object")
            first = entry.get("architecture")
            if own and first == own[0]:
                return [first, *_texts(entry.get("subArchitectures") or [], "subArchitectures")]
        return own

    def _rule(self, document: object) -> Json | None:
        rule = _object(document, _RULE, "a rule")
        if not self._applies(rule.get("includes"), rule.get("excludes")):
            return None
        names = [rule["name"]] if rule.get("name") else rule.get("names")
        made: Json = {
            "names": _texts(names, "names"),
            "action": _one_of(rule.get("action"), _ACTIONS, "action"),
        }
        number = _error_number(rule, "errno", "errnoRet")
        if number is not None:
            made["errnoRet"] = number
        arguments = rule.get("args") or []
        if not isinstance(arguments, list):
            raise _RefusedError("args is not a list")
        if arguments:
            made["args"] = [_argument(argument) for argument in arguments]
        return made if made["names"] else None

    def _applies(self, includes: object, excludes: object) -> bool:
        """Whether a rule with these conditions applies to this container; one without conditions always does."""
        wanted, unwanted = (_object(each or {}, _CONDITIONS, "a condition") for each in (includes, excludes))
        arches = _texts(wanted.get("arches") or [], "arches")
        return (
            (not arches or self._architecture in arches)
            and self._capabilities.issuperset(_texts(wanted.get("caps") or [], "caps"))
            and (not wanted.get("minKernel") or self._release >= _numbers(wanted["minKernel"]))
            and self._architecture not in _texts(unwanted.get("arches") or [], "arches")
            and self._capabilities.isdisjoint(_texts(unwanted.get("caps") or [], "caps"))
            and (not unwanted.get("minKernel") or self._release < _numbers(unwanted["minKernel"]))
        )


def _argument(document: object) -> Json:
    argument = _object(document, _ARGUMENT, "an argument")
    made: Json = {"op": _one_of(argument.get("op"), _OPERATORS, "op")}
    for name in ("index", "value", "valueTwo"):
        value = argument.get(name, 0)
        if type(value) is not int or not 0 <= value < 1 << 64 or (name == "index" and value > 5):
            raise _RefusedError(f"{name} of an argument is not a number in its range")
        made[name] = value
    return made


def _error_number(holder: Json, name: str, number: str) -> int | None:
    """Return the error number, from its name, which is preferred, or from the number; None if both are absent."""
    text, value = holder.get(name), holder.get(number)
    if text:
        found = getattr(errno, text, None) if isinstance(text, str) and text.startswith("E") else None
        if not isinstance(found, int):
            raise _RefusedError(f"{name} is not the name of an error")
        return found
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 4096:
        raise _RefusedError(f"{number} is not the number of an error")
    return value


def _object(document: object, known: frozenset[str], what: str) -> Json:
    """Return *document*, an object with only *known* members. Raises _RefusedError."""
    if not isinstance(document, dict):
        raise _RefusedError(f"{what} is not an object")
    unknown = sorted(set(document) - known)
    if unknown:
        from arstore.oci.document import shown

        raise _RefusedError(f"{what} has the unknown member {shown(unknown[0])}")
    return document


def _one_of(value: object, known: frozenset[str], what: str) -> str:
    if not isinstance(value, str) or value not in known:
        raise _RefusedError(f"{what} is missing or unknown")
    return value


def _texts(value: object, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise _RefusedError(f"{what} is not a list of names")
    return value


def _numbers(release: object) -> tuple[int, ...]:
    """Return major and minor version of a kernel. Raises _RefusedError."""
    try:
        major, minor = str(release).split(".")[:2]
        return int(major), int("".join(c for c in minor if c.isdigit()))
    except ValueError:
        raise _RefusedError("minKernel is not a version") from None
