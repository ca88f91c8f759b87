"""The recorded request of a container: how it was asked to be run, so that it can be started again.

It is written before the first start, and never changed. Values are written by a codec that knows only their kinds: a
named tuple is an object with its class's name as the only key, and only fields that differ from their defaults are
written; a mapping is an object with the key `map`; tuples are lists. So a new field of RunOptions needs a default and
plain types (str, int, float, bool, None, tuples, mappings of str, named tuples of `runtime.spec`), and nothing here.
Missing fields have their defaults. Unknown fields and classes were written by a newer arstore, and are refused. Out of
scope: the file's checksum and locks, see `store.container_document`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from arstore.errors import NotFoundError, StoreVersionError
from arstore.runtime import spec
from arstore.runtime.spec.options import RunOptions
from arstore.runtime.stdio.log_options import LogOptions
from arstore.store.container_document import RUN_NAME, read_request, write_request
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from arstore.store.containers import Container

_MAP = "map"


class Request(NamedTuple):
    """How a container is run: the *image*'s digest, the options, and settings of the launcher."""

    image: str
    options: RunOptions
    runtime: str = ""
    """The path of the OCI runtime that the user asked for; "" for the first that works."""
    timeout: float | None = None
    """Seconds after which the container is stopped."""
    remove: bool = False
    """Whether the container is removed when it has ended."""


class _UnknownError(ValueError):
    """A class or a field that this version does not have."""


def record_request(container: Container, request: Request, *, durable: bool = True) -> None:
    """Record *request* for *container*; it need not be *durable* if the container ends with a process.

    Raises OSError.
    """
    write_request(container.path, encoded(request), durable=durable)


def recorded_request(container: Container) -> Request:
    """Return the recorded request of *container*.

    Raises NotFoundError if it has none, StoreDamagedError, StoreVersionError for one of a newer arstore, OSError.
    """
    fields = read_request(container.path)
    if fields is None:
        why = "has no command to start: it was made by `arstore mount --rw`"
        raise NotFoundError(f"container {container.id}", why, "`arstore commit` makes an image of it, which can be run")
    try:
        found = decoded(fields)
    except _UnknownError as error:
        why = f"was written by a newer arstore: {error}"
        raise StoreVersionError(f"{container.path}/{RUN_NAME}", why) from error
    return found


def encoded(request: Request) -> dict[str, Any]:
    """Return *request* as JSON."""
    return cast("dict[str, Any]", _to_json(request))


def decoded(fields: Mapping[str, Any]) -> Request:
    """Return the request in JSON that `encoded` has made. Raises ValueError for unknown fields and classes."""
    return cast("Request", _from_json(dict(fields), {one.__name__: one for one in (Request, RunOptions, LogOptions)}))


def _to_json(value: object) -> object:
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        defaults: dict[str, object] = value._field_defaults  # type: ignore[attr-defined] # every named tuple has it
        items = zip(value._fields, value, strict=True)
        given = {name: one for name, one in items if name not in defaults or not _same(one, defaults[name])}
        return {type(value).__name__: {name: _to_json(one) for name, one in given.items()}}
    if isinstance(value, (tuple, list)):
        return [_to_json(one) for one in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return {_MAP: {name: _to_json(one) for name, one in cast("Mapping[str, object]", value).items()}}


def _same(value: object, default: object) -> bool:
    """Whether they are equal and of one type: 1, 1.0 and True are equal. All mappings count as one type."""
    return value == default and (type(value) is type(default) or not isinstance(value, (tuple, int, float)))


def _from_json(value: object, classes: dict[str, type]) -> object:
    if isinstance(value, list):
        return tuple(_from_json(one, classes) for one in value)
    if not isinstance(value, dict):
        return value
    ((name, members),) = value.items()
    fields = {key: _from_json(one, classes) for key, one in members.items()}
    if name == _MAP:
        return MappingProxyType(fields)
    kind = classes.get(name) or _class_of(name, classes)
    if unknown := fields.keys() - set(kind._fields):  # type: ignore[attr-defined] # a named tuple
        raise _UnknownError(f"{name} has no field {min(unknown)}")
    return kind(**fields)


def _class_of(name: str, classes: dict[str, type]) -> type:
    """Return the class *name* of `runtime.spec`, and add it to *classes*; modules that are not loaded come last."""
    # Not needed to write a request, which every run does.
    import importlib
    import pkgutil
    import sys

    prefix = f"{spec.__name__}."
    modules = [found.name for found in pkgutil.walk_packages(spec.__path__, prefix)]
    for module in sorted(modules, key=lambda one: one not in sys.modules):
        found = vars(importlib.import_module(module)).get(name)
        if isinstance(found, type) and issubclass(found, tuple) and hasattr(found, "_fields"):
            classes[name] = found
            return found
    raise _UnknownError(f"it has the unknown part {name}")
