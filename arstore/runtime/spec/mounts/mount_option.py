"""`--mount`: volumes, images and file systems in memory, as comma-separated keys and values.

The keys are podman's and docker's, with their aliases; the text is one line of CSV, so a value in quotes may contain
commas. Out of scope: the meaning of the options, which are those of `--volume` and `--tmpfs`.
"""

from __future__ import annotations

import csv
import glob
import os
from typing import TYPE_CHECKING

from arstore.errors import NotFoundError
from arstore.runtime.spec.mounts.filesystems import memory_filesystem
from arstore.runtime.spec.mounts.mount_point import clean_destination
from arstore.runtime.spec.mounts.volume import Volume, check_volume_name, existing_path, with_options
from arstore.runtime.spec.sizes import parse_size, refused, shown
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.runtime.spec.mounts.filesystems import Tmpfs

TYPES = ("bind", "volume", "tmpfs", "image", "ramfs", "devpts", "glob")
_ALIASES = {
    "source": "src",
    "dest": "dst",
    "destination": "dst",
    "target": "dst",
    "readonly": "ro",
    "readwrite": "rw",
    "chown": "U",
    "propagation": "bind-propagation",
    "nonrecursive": "bind-nonrecursive",
    "volume-nocopy": "nocopy",
    "volume-subpath": "subpath",
    "volume-driver": "driver",
    "tmpfs-size": "size",
    "tmpfs-mode": "mode",
}
_FLAGS = ("z", "Z", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "nocopy", "copy", "U", "ro", "rw")
"""Keys that are words of `--volume`, unless their value is false."""
_SWITCHES = frozenset({*_FLAGS, "bind-nonrecursive", "tmpcopyup", "notmpcopyup"})
_OTHERS = ("bind-propagation", "bind-nonrecursive", "relabel", "consistency", "subpath", "idmap")
_VOLUME_KEYS = frozenset({*_FLAGS, *_OTHERS})
_KEYS = {
    "bind": _VOLUME_KEYS - {"nocopy", "copy", "subpath"},
    "glob": _VOLUME_KEYS - {"nocopy", "copy", "subpath"},
    "volume": _VOLUME_KEYS | {"driver"},
    "image": frozenset({"rw", "ro", "subpath"}),
    "tmpfs": frozenset(_FLAGS) - {"nocopy", "copy"} | {"size", "mode", "tmpcopyup", "notmpcopyup"},
    "ramfs": frozenset(_FLAGS) - {"nocopy", "copy", "U", "z", "Z"} | {"mode"},
    "devpts": frozenset({"uid", "gid", "mode", "max"}),
}
_TRUE, _FALSE = ("true", "1", "t"), ("false", "0", "f")
_MOST_MATCHES = 1000


class Mounted(NamedTuple):
    """The mounts that one `--mount` adds to a container."""

    volumes: tuple[Volume, ...] = ()
    filesystems: tuple[Tmpfs, ...] = ()


def parse_mount(text: str) -> Mounted:
    """Read `type=TYPE,KEY[=VALUE],...`; without `type`, it is a volume.

    Raises UsageError for invalid syntax, an unknown type, key or value; NotFoundError if the source does not exist.
    """
    found = _keys(text)
    kind = found.pop("type", "volume")
    if kind not in TYPES:
        raise refused(text, f"not a type of mount: {shown(kind)}", f"use one of {', '.join(TYPES)}")
    source, place = found.pop("src", ""), found.pop("dst", "")
    if not place:
        raise refused(text, "it needs a place in the container", "add dst=PATH")
    for key in found:
        if key not in _KEYS[kind]:
            hint = f"it takes {', '.join(sorted(_KEYS[kind]))}"
            raise refused(text, f"not a key of {kind} mounts: {shown(key)}", hint)
    return _MAKERS[kind](source, clean_destination(place, text), found, text)


def _keys(text: str) -> dict[str, str]:
    try:
        [fields] = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        raise refused(text, "not a mount", "write type=TYPE,src=PATH,dst=PATH") from None
    found: dict[str, str] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        name = _ALIASES.get(name, name)
        if "\0" in field or not name:
            raise refused(text, "not a mount", "write type=TYPE,src=PATH,dst=PATH")
        if name in found:
            raise refused(text, f"{shown(name)} is given twice")
        if name in _SWITCHES:
            value = _switch(value, text) if equals else "true"
        elif not equals or not value:
            raise refused(text, f"{shown(name)} needs a value")
        found[name] = value
    return found


def _switch(value: str, text: str) -> str:
    lower = value.lower()
    if lower not in (*_TRUE, *_FALSE):
        raise refused(text, f"neither true nor false: {shown(value) or 'an empty word'}")
    return "true" if lower in _TRUE else "false"


def _is_on(found: dict[str, str], name: str) -> bool:
    return found.get(name) == "true"


def _words(found: dict[str, str], text: str) -> list[str]:
    """Return the words of `--volume` that mean the same."""
    words = [name for name in _FLAGS if _is_on(found, name)]
    if found.get("ro") == "false":
        words.append("rw")
    if found.get("rw") == "false":
        words.append("ro")
    if propagation := found.get("bind-propagation"):
        words.append(propagation)
    if _is_on(found, "bind-nonrecursive"):
        words.append("bind")
    if (relabel := found.get("relabel")) is not None:
        if relabel not in {"shared", "private"}:
            raise refused(text, f"not a kind of relabel: {shown(relabel)}", "use shared or private")
        words.append("z" if relabel == "shared" else "Z")
    if "idmap" in found:
        words.append("idmap")
    return words


def _bind(source: str, place: str, found: dict[str, str], text: str) -> Mounted:
    # As in podman, a missing source is the place itself.
    return Mounted((with_options(Volume(existing_path(source or place), place), _words(found, text), text),))


def _glob(source: str, place: str, found: dict[str, str], text: str) -> Mounted:
    paths = sorted(glob.glob(os.path.abspath(source))) if source else []
    if not paths:
        raise NotFoundError(shown(source or text), "no file or directory matches this pattern")
    if len(paths) > _MOST_MATCHES:
        raise refused(text, f"matches more than {_MOST_MATCHES} paths")
    words = _words(found, text)
    named = ((path, f"{place}/{os.path.basename(path)}") for path in paths)
    return Mounted(tuple(with_options(Volume(path, one), words, text) for path, one in named))


def _volume(source: str, place: str, found: dict[str, str], text: str) -> Mounted:
    if found.get("driver", "local") != "local":
        raise refused(text, f"no such driver: {shown(found['driver'])}", "local is the only one")
    name = check_volume_name(source, text) if source else ""
    volume = Volume("", place, kind="volume", name=name, subpath=_subpath(found, text))
    return Mounted((with_options(volume, _words(found, text), text),))


def _image(source: str, place: str, found: dict[str, str], text: str) -> Mounted:
    if not source:
        raise refused(text, "it needs the image", "add src=IMAGE")
    writable = _is_on(found, "rw") or found.get("ro") == "false"
    made = Volume("", place, not writable, kind="image", name=source, temporary=writable)
    return Mounted((made._replace(subpath=_subpath(found, text)),))


def _memory(kind: str) -> Callable[[str, str, dict[str, str], str], Mounted]:
    def make(source: str, place: str, found: dict[str, str], text: str) -> Mounted:
        if source:
            raise refused(text, f"a {kind} has no source")
        words = [name for name, value in found.items() if value == "true" and name not in {"z", "Z"}]
        if found.get("ro") == "false":
            words.append("rw")
        if "size" in found:
            size = found["size"]
            words.append(f"size={size if size.endswith('%') else parse_size(size)}")
        words += [f"{name}={found[name]}" for name in ("mode", "uid", "gid", "max") if name in found]
        return Mounted((), (memory_filesystem(kind, place, words, text),))

    return make


def _subpath(found: dict[str, str], text: str) -> str:
    path = found.get("subpath", "")
    if path and ".." in path.split("/"):
        raise refused(text, "a subpath cannot contain ..")
    return path.strip("/")


_MAKERS = {
    "bind": _bind,
    "glob": _glob,
    "volume": _volume,
    "image": _image,
    **{kind: _memory(kind) for kind in ("tmpfs", "ramfs", "devpts")},
}
