"""Encoding of a worker's answers to its parent: values, never code.

A worker that was compromised by a hostile layer can write anything, so an answer is JSON; a pickle could call anything
in this program. It has numbers, texts and containers, bytes as base64, and values of the types that were registered
with `answer`, which are rebuilt from their fields. The parent treats the content like any other bytes from outside.

    {"b": base64}  {"t": [...]} tuple  {"s": [...]} set  {"f": [...]} frozenset  {"d": [[key, value], ...]} dict
    {"k": [type, field, ...]}   {"e": [type of error, argument, ...]}   {"o": [errno, text, file name, None, other]}
"""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from enum import Enum
from typing import TYPE_CHECKING

from arstore import errors
from arstore.digest import Digest
from arstore.errors import ArstoreError, HostError
from arstore.values import Slotted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    T = TypeVar("T", bound=type)


LONGEST = 256 << 20
"""Bytes of the longest answer: the findings in 10^6 trees."""

_HINT = "it may have been compromised by its input"
_PLAIN = frozenset({str, int, float, bool, type(None)})
_KNOWN: dict[str, Callable[..., Any]] = {}
"""Constructors of values from their fields, by the type's name."""


def answer(kind: T) -> T:
    """Decorate a class whose values may be in answers.

    The class is an enumeration, a named tuple, a data class, a slotted value or a subclass of str; or it has a method
    `as_answer`, whose result the class method `of_answer` takes.
    """
    _KNOWN[_name(kind)] = getattr(kind, "of_answer", kind)
    return kind


def packed(value: object) -> bytes:
    """Return *value* as bytes. Raises TypeError for a value that may not be in an answer."""
    return json.dumps(_encoded(value), separators=(",", ":")).encode("ascii")


def unpacked(data: bytes | bytearray) -> object:
    """Return the value in *data*. Raises HostError for an invalid answer, which a sound worker never sends."""
    try:
        return _decoded(json.loads(str(data, "ascii")))
    except Exception as error:  # foreign bytes can lead to any error
        raise HostError("worker", f"a worker process sent an invalid answer ({type(error).__name__})", _HINT) from error


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _encoded(value: object) -> object:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, list):
        return [_encoded(one) for one in value]
    if isinstance(value, OSError):
        named = (value.errno, value.strerror, value.filename, None, value.filename2)
        return {"o": _listed(value.args if value.filename is None else named)}
    if isinstance(value, ArstoreError):
        return {"e": [_name(kind), *_listed(value.args)]}
    if _name(kind) in _KNOWN:
        return {"k": [_name(kind), *_listed(_fields(value))]}
    if isinstance(value, bytes):
        return {"b": b2a_base64(value, newline=False).decode("ascii")}
    if isinstance(value, tuple):
        return {"t": _listed(value)}
    if isinstance(value, set | frozenset):
        return {"s" if isinstance(value, set) else "f": _listed(value)}
    if isinstance(value, dict):
        return {"d": [_listed(item) for item in value.items()]}
    raise TypeError(f"{_name(kind)} cannot be part of an answer")


def _listed(values: Iterable[object]) -> list[object]:
    return [_encoded(value) for value in values]


def _fields(value: object) -> Iterable[object]:
    speak: Callable[[], Iterable[object]] | None = getattr(value, "as_answer", None)
    if speak is not None:
        return speak()
    if isinstance(value, Enum):
        return (value.value,)
    if isinstance(value, str):
        return (str(value),)
    names = value.__match_args__ if isinstance(value, Slotted) else getattr(value, "__dataclass_fields__", None)
    if names is not None:
        return (getattr(value, name) for name in names)
    assert isinstance(value, tuple), "a named tuple"
    return value


def _decoded(found: object) -> object:
    if isinstance(found, list):
        return [_decoded(one) for one in found]
    if not isinstance(found, dict):
        return found
    ((mark, content),) = found.items()
    return _MADE[mark](content)


def _error(content: list[object]) -> ArstoreError:
    name, *arguments = content
    kind = {_name(kind): kind for kind in vars(errors).values() if isinstance(kind, type)}[name]  # type: ignore[index]
    if not issubclass(kind, ArstoreError):
        raise TypeError("not an error class")
    return kind(*map(_decoded, arguments))  # type: ignore[arg-type] # the worker may send anything


_MADE: dict[str, Callable[[Any], object]] = {
    "b": lambda content: a2b_base64(content, strict_mode=True),
    "t": lambda content: tuple(map(_decoded, content)),
    "s": lambda content: set(map(_decoded, content)),
    "f": lambda content: frozenset(map(_decoded, content)),
    "d": lambda content: {_decoded(key): _decoded(one) for key, one in content},
    "o": lambda content: OSError(*map(_decoded, content)),
    "e": _error,
    "k": lambda content: _KNOWN[content[0]](*map(_decoded, content[1:])),
}

answer(Digest)
