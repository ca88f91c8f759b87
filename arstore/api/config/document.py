"""The keys of a configuration file, and its content as plain values that are right.

    root = "/srv/images"            absolute paths; a leading ~/ is the user's home directory
    runroot = "/run/images"
    runtime = "crun"                a path, or a name in PATH
    tree = "erofs"                  as --tree
    file-digests = "off"            as --file-digests
    policy = "/etc/images.json"
    log-level = "warning"
    max-size = "20g"                as --max-size
    high-water = "18g"              above this size cached trees are given up
    low-water = "15g"               until the store takes only this
    protect = ["base:*"]            names of images that gc and prune keep

    [limits]                        as --limit
    inflated = "2t"

    [load]
    require-label = true

    [[additional-store]]            as in stores.conf
    path = "/media/images/store"
    owner = "builder"

`parse` returns the keys that are given, by their dotted names. The form is what the cache keeps: JSON has every value.
docs/configuration.md describes each key; a test asserts that it has the same ones.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.api.config.files import quoted, toml, unknown_key
from arstore.errors import ConfigFileError, UsageError
from arstore.tar.limits import limit_names, parse_bytes, parse_limit
from arstore.trees.contents import MODES
from arstore.trees.forms import AUTO, FORMS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LEVELS = ("error", "warning", "info", "debug")
"""Values of log-level, as of --log-level."""
REQUIRE_LABEL = "load.require-label"
ADDITIONAL = "additional-store"
PROTECT = "protect"
LIMITS = "limits."
"""Prefix of the dotted name of a limit."""

_STORE_KEYS = ("path", "owner")
_MOST_PATTERNS = 1000


def parse(path: str, data: bytes) -> dict[str, Any]:
    """Return the values in *data*, the content of the file *path*, by dotted name.

    Texts, whole numbers of bytes or of things, and for additional-store a list of `[path, owner]`. Raises
    ConfigFileError, which names the line or the key.
    """
    found: dict[str, Any] = {}
    for key, value in toml(path, data).items():
        if key == "limits":
            found |= _limits(path, value)
        elif key == "load":
            found |= _load(path, value)
        elif key in _TOP:
            found[key] = _TOP[key](path, key, value)
        else:
            raise unknown_key(path, key, top_keys())
    return found


def top_keys() -> tuple[str, ...]:
    """Return the keys and tables at the top of a file."""
    return (*_TOP, "limits", "load")


def every_key() -> tuple[str, ...]:
    """Return the dotted names of all keys, in the order of the documentation."""
    limits = (f"{LIMITS}{name}" for name in limit_names())
    stores = (f"{ADDITIONAL}.{name}" for name in _STORE_KEYS)
    return (*(key for key in _TOP if key != ADDITIONAL), *limits, REQUIRE_LABEL, *stores)


def _text(path: str, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ConfigFileError(path, f"{key} is not a text in quotes, but {_kind(value)}")
    if not value:
        raise ConfigFileError(path, f"{key} is empty", "leave the key out for the default")
    if not value.isprintable():
        raise ConfigFileError(path, f"{key} has characters that cannot be printed: {quoted(value)}")
    return value


def _place(path: str, key: str, value: object) -> str:
    text = _text(path, key, value)
    if not (os.path.isabs(text) or text.startswith("~/")):
        raise ConfigFileError(path, f"{key} is not a path that begins with / or ~/: {quoted(text)}")
    return text


def _program(path: str, key: str, value: object) -> str:
    text = _text(path, key, value)
    return _place(path, key, text) if "/" in text else text


def _one_of(choices: tuple[str, ...]) -> Callable[[str, str, object], str]:
    def choose(path: str, key: str, value: object) -> str:
        text = _text(path, key, value)
        if text not in choices:
            raise ConfigFileError(path, f"{key} cannot be {quoted(text)}", f"it is one of {', '.join(choices)}")
        return text

    return choose


def _size(path: str, key: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ConfigFileError(path, f"{key} is not a size, but {_kind(value)}")
    try:
        return parse_bytes(str(value), key)
    except UsageError as error:
        raise ConfigFileError(
            path, f"{key} = {quoted(str(value))}: {error.why}", f'write it as in {key} = "20g"'
        ) from None


def _patterns(path: str, key: str, value: object) -> list[str]:
    if not isinstance(value, list):
        raise ConfigFileError(path, f"{key} is not a list of texts, but {_kind(value)}", f'write {key} = ["base:*"]')
    if len(value) > _MOST_PATTERNS:
        raise ConfigFileError(path, f"{key} has more than {_MOST_PATTERNS} patterns")
    return [_text(path, key, one) for one in value]


def _stores(path: str, key: str, value: object) -> list[list[str]]:
    return additional_stores(path, value, _place)


_TOP: dict[str, Callable[[str, str, object], Any]] = {
    "root": _place,
    "runroot": _place,
    "runtime": _program,
    "tree": _one_of((AUTO, *FORMS)),
    "file-digests": _one_of(MODES),
    "policy": _place,
    "log-level": _one_of(LEVELS),
    "max-size": _size,
    "high-water": _size,
    "low-water": _size,
    PROTECT: _patterns,
    ADDITIONAL: _stores,
}


def additional_stores(path: str, value: object, place: Callable[[str, str, object], str] = _place) -> list[list[str]]:
    """Return path and owner of each table in the list *value*. Raises ConfigFileError."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ConfigFileError(path, f"{ADDITIONAL} is not a list of tables", f"write [[{ADDITIONAL}]]")
    found = []
    for table in value:
        for key in table:
            if key not in _STORE_KEYS:
                raise unknown_key(path, key, _STORE_KEYS, f"{ADDITIONAL}.")
        if "path" not in table:
            raise ConfigFileError(path, f"an {ADDITIONAL} has no path")
        root = place(path, f"{ADDITIONAL}.path", table["path"])
        owner = _text(path, f"{ADDITIONAL}.owner", table["owner"]) if "owner" in table else ""
        found.append([root, owner])
    return found


def _limits(path: str, value: object) -> dict[str, int]:
    found = {}
    for name, text in _table(path, "limits", value).items():
        if name not in limit_names():
            raise unknown_key(path, name, tuple(limit_names()), LIMITS)
        if isinstance(text, bool) or not isinstance(text, int | str):
            raise ConfigFileError(path, f"limits.{name} is not a number, but {_kind(text)}")
        try:
            found[f"{LIMITS}{name}"] = parse_limit(name, str(text), f"limits.{name}")
        except UsageError as error:
            hint = 'write it as in inflated = "512g"' if error.hint else ""
            raise ConfigFileError(path, f"limits.{name} = {quoted(str(text))}: {error.why}", hint) from None
    return found


def _load(path: str, value: object) -> dict[str, bool]:
    table = _table(path, "load", value)
    for key, given in table.items():
        if key != "require-label":
            raise unknown_key(path, key, ("require-label",), "load.")
        if not isinstance(given, bool):
            raise ConfigFileError(path, f"{REQUIRE_LABEL} is not true or false, but {_kind(given)}")
    return {f"load.{key}": bool(given) for key, given in table.items()}


def _table(path: str, key: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ConfigFileError(path, f"{key} is not a table, but {_kind(value)}", f"write [{key}]")
    return value


def _kind(value: object) -> str:
    """Return what TOML calls the type of *value*."""
    if isinstance(value, bool):
        return "true or false"
    kinds = {str: "a text", int: "a whole number", float: "a fraction", list: "a list", dict: "a table"}
    return kinds.get(type(value), "a date or time")
