"""Strict parser for JSON documents from outside, and typed access to the fields of their objects.

Strict means: UTF-8 without a byte order mark, no duplicate keys, no NaN, no unpaired surrogates, limited size, nesting
and numbers. So an accepted document means the same to every reader, and can be written again. `Fields` converts members
to typed values; its errors name the field by its path (`layers[3].digest`). null counts as absent, because Go writes an
empty list or map that way. `Bounds` apply to documents from outside. A document in the store was once accepted with
some bounds, and is read with `STORED`. Not in scope: the meaning of any document.
"""

from __future__ import annotations

import json
import math
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import InvalidReferenceError, LimitError, ManifestError
from arstore.pattern import pattern
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any, NoReturn

_MAX_NUMBER = 300
_SPARSEST = 20
"""Average bytes for each value, in documents that are larger than real ones: those of `index.json` have 30."""
_WINDOW = 1 << 19
"""Bytes that are searched for brackets at once: each string in them is briefly an object."""
_MAX_SHOWN = 120
_SURROGATE = pattern(r"\\u[dD][89a-fA-F]")
_ESCAPE = pattern(rb"(?s)\\.")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


class Bounds(NamedTuple):
    """Limits of a document; exceeding one is a LimitError."""

    document: int = 4 << 20
    """Bytes: the limit of registries and of other tools."""
    json_depth: int = 64
    """Levels of lists and objects; real documents have fewer than ten."""
    layers: int = 10_000
    """Layers of a manifest, diff IDs of a config, and a quarter of its history entries; no kernel mounts so many."""
    manifests: int = 50_000
    """Entries of an index."""
    index_depth: int = 4
    """Depth of nested indexes, checked by code that follows them; real ones have one or two levels."""
    listing: int = 16 << 20
    """Bytes of the `index.json` of a layout, which lists every name of every image in it."""
    remedy: str = ""
    """Hint for users how to raise a limit, with `{}` for its name as in flags; "" if it is fixed."""

    def of_listing(self) -> Bounds:
        """Return the bounds of an `index.json`."""
        return self._replace(document=max(self.document, self.listing))

    def passed(self, name: str, what: str, why: str) -> LimitError:
        """Return the error for *what*, which exceeds the bound *name*."""
        return LimitError(what, why, self.remedy.format(name))


BOUNDS = Bounds()
"""Limits above every real document."""
STORED = Bounds(64 << 20, 256, 100_000, 100_000, 64, 64 << 20)
"""The highest limits that users may set: every document in a store was accepted with these or lower ones."""


def parse(data: bytes, what: str, bounds: Bounds = BOUNDS) -> dict[str, Any]:
    """Return the JSON object in *data*; *what* names it in errors.

    Raises LimitError beyond the *bounds* on bytes and levels, ManifestError for everything else.
    """
    return as_object(parse_value(data, what, bounds), what)


def as_object(value: object, what: str) -> dict[str, Any]:
    """Return *value*, which must be an object. Raises ManifestError."""
    if not isinstance(value, dict):
        raise ManifestError(what, f"is {_kind(value)}, not a JSON object")
    return value


def parse_list(data: bytes, what: str, bounds: Bounds = BOUNDS) -> list[Any]:
    """Return the JSON list in *data*, such as the `manifest.json` of a docker-archive; as strict as `parse`."""
    value = parse_value(data, what, bounds)
    if not isinstance(value, list):
        raise ManifestError(what, f"is {_kind(value)}, not a JSON list")
    return value


def parse_value(data: bytes, what: str, bounds: Bounds = BOUNDS) -> Any:  # noqa: ANN401 - JSON is untyped here
    """Return the JSON value in *data*; as strict as `parse`."""
    if len(data) > bounds.document:
        why = f"has {len(data)} bytes; the limit is {bounds.document}"
        raise bounds.passed("document", what, why)
    text = _decode(data, what)
    _check_density(data, what)
    _check_nesting(data, what, bounds)
    try:
        value = json.loads(
            text,
            object_pairs_hook=partial(_object, what),
            parse_constant=partial(_constant, what),
            parse_float=partial(_float, what),
            parse_int=partial(_int, what),
        )
    except json.JSONDecodeError as error:
        why = f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}"
        raise ManifestError(what, why) from error
    _check_surrogates(text, value, what)
    return value


def is_json(data: bytes, what: str, bounds: Bounds = BOUNDS) -> bool:
    """Whether a lenient reader would accept *data* as JSON. Raises LimitError for levels beyond *bounds*."""
    _check_nesting(data, what, bounds)
    try:
        json.loads(data.decode("utf-8", "replace"), parse_int=str, parse_float=str)
    except ValueError:
        return False
    return True


def encode(value: object) -> bytes:
    """Return *value* as compact JSON with sorted keys: equal values give equal bytes. Half surrogates become `?`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")


def shown(text: str, limit: int = _MAX_SHOWN) -> str:
    """Return untrusted *text* for a one-line message: unprintable characters escaped, cut to *limit* characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def _decode(data: bytes, what: str) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        raise ManifestError(what, "begins with a byte order mark, which JSON does not allow")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ManifestError(what, f"is not UTF-8: byte {error.start} is invalid") from error
    if not text.strip():
        raise ManifestError(what, "is empty")
    return text


def _check_nesting(data: bytes, what: str, bounds: Bounds) -> None:
    depth = deepest = 0
    for brackets in _brackets(data):
        levels = accumulate((1 if bracket in b"[{" else -1 for bracket in brackets), initial=depth)
        deepest = max(deepest, *levels) if brackets else deepest
        depth += sum(map(brackets.count, (b"[", b"{"))) - sum(map(brackets.count, (b"]", b"}")))
    if deepest > bounds.json_depth:
        why = f"is nested {deepest} levels deep; the limit is {bounds.json_depth}"
        raise bounds.passed("json-depth", what, why)


def _brackets(data: bytes) -> Iterator[bytes]:
    """Yield the brackets of *data* outside of strings, one window at a time."""
    start = in_string = 0
    while start < len(data):
        window = data[start : start + _WINDOW]
        if (len(window) - len(window.rstrip(b"\\"))) % 2:
            # Do not cut an escape in two.
            window = data[start : start + _WINDOW + 1]
        start += len(window)
        # Without escapes, a text alternates between structure and strings at each quote.
        pieces = (_ESCAPE.sub(b"", window) if b"\\" in window else window).split(b'"')
        yield b"".join(pieces[in_string::2]).translate(None, _NOT_BRACKETS)
        in_string ^= (len(pieces) - 1) % 2


def _check_density(data: bytes, what: str) -> None:
    """Refuse a large document that needs many times its size in memory: a list of empty lists needs 20 times.

    Raises LimitError.
    """
    if len(data) > BOUNDS.document and sum(map(data.count, (b",", b"[", b"{"))) > len(data) // _SPARSEST:
        raise LimitError(what, f"has {len(data)} bytes, and too many values for its size")


def _object(what: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ManifestError(what, f"has the key {shown(repr(key))} twice in one object")
            seen.add(key)
    return members


def _constant(what: str, text: str) -> NoReturn:
    raise ManifestError(what, f"contains {text}, which is not a JSON number")


def _float(what: str, text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ManifestError(what, f"contains the number {shown(text, 30)}, which is too large")
    return value


def _int(what: str, text: str) -> int:
    if len(text) > _MAX_NUMBER:
        raise ManifestError(what, f"contains a number of {len(text)} digits")
    return int(text)


def _check_surrogates(text: str, value: object, what: str) -> None:
    if "\\" not in text or _SURROGATE.search(text) is None:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ManifestError(what, "contains half of a surrogate pair, which is not a character") from error


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names[type(value)]


class Fields:
    """The members of one JSON object, as typed values.

    *what* names the document and *path* the object in it. Each method takes a member's key, and returns the empty value
    (or the default) for an absent or null member. It raises ManifestError, with the path, for a member of another type.
    Text with a NUL character is refused, because no path, argument or variable may contain one.
    """

    __slots__ = ("path", "values", "what")

    def __init__(self, values: dict[str, Any], what: str, path: str = "") -> None:
        self.values = values
        self.what = what
        self.path = path

    @classmethod
    def of(cls, value: object, what: str, path: str = "") -> Fields:
        """Return the members of *value*, which must be an object. Raises ManifestError."""
        if not isinstance(value, dict):
            raise ManifestError(what, _at(path, f"is {_kind(value)}, not an object"))
        return cls(value, what, path)

    def at(self, key: str) -> str:
        """Return the path of the member *key*."""
        return f"{self.path}.{shown(key, 60)}" if self.path else shown(key, 60)

    def error(self, key: str, why: str) -> ManifestError:
        """Return an error about the member *key*."""
        return ManifestError(self.what, f"{self.at(key)}: {why}")

    def has(self, key: str) -> bool:
        """Whether the member exists and is not null."""
        return self.values.get(key) is not None

    def string(self, key: str, *, required: bool = False) -> str:
        """Return a text; *required* refuses an absent or empty one."""
        value = self.values.get(key)
        if value is None:
            value = ""
        if required and value == "":
            raise self.error(key, "is missing")
        return self._text_at(value, self.at(key))

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number, 0 or more and below 2**63; without a *default* it is required."""
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise self.error(key, "is missing")
        if type(value) is not int:
            raise self.error(key, f"is {_kind(value)}, not a whole number")
        if not 0 <= value < 1 << 63:
            raise self.error(key, "is negative or too large")
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(self._text_at(value, f"{self.at(key)}[{i}]") for i, value in enumerate(self._list(key)))

    def texts(self, key: str) -> dict[str, str]:
        """Return the texts in an object, such as annotations; members of other types are left out without an error."""
        value = self.values.get(key)
        if not isinstance(value, dict):
            return {}
        return {name: text for name, text in value.items() if isinstance(text, str) and "\0" not in name + text}

    def keys(self, key: str) -> tuple[str, ...]:
        """Return the keys of an object that represents a set, as in `{"/data": {}}`."""
        members = self.child(key)
        return () if members is None else tuple(members._field_names())

    def child(self, key: str) -> Fields | None:
        """Return an object's members."""
        value = self.values.get(key)
        return None if value is None else Fields.of(value, self.what, self.at(key))

    def required_child(self, key: str) -> Fields:
        """An object's members, which have to be there. Raises ManifestError."""
        child = self.child(key)
        if child is None:
            raise self.error(key, "is missing")
        return child

    def objects(self, key: str) -> list[Fields]:
        """Return a list of objects."""
        return [Fields.of(value, self.what, f"{self.at(key)}[{i}]") for i, value in enumerate(self._list(key))]

    def places(self, key: str) -> list[tuple[object, str]]:
        """Return a list of values of any type, each with its path."""
        return [(value, f"{self.at(key)}[{i}]") for i, value in enumerate(self._list(key))]

    def digest(self, key: str) -> Digest:
        """Return a required digest."""
        return self._digest(self.string(key, required=True), self.at(key))

    def digests(self, key: str) -> tuple[Digest, ...]:
        """Return a list of digests."""
        return tuple(self._digest(text, f"{self.at(key)}[{i}]") for i, text in enumerate(self.strings(key)))

    def refuse_variants(self, known: Collection[str]) -> None:
        """Refuse keys that differ from a *known* one only in letter case.

        Go's decoder accepts such a key as the known one, so the document would mean different things to different
        readers. Raises ManifestError.
        """
        others = self.values.keys() - known
        if not others:
            return
        spelling = {name.casefold(): name for name in known}
        for key in sorted(others):
            if expected := spelling.get(key.casefold()):
                raise self.error(key, f"this field is spelt {expected}")

    def _list(self, key: str) -> list[Any]:
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(key, f"is {_kind(value)}, not a list")
        return value

    def _field_names(self) -> Iterator[str]:
        for name in self.values:
            yield self._text_at(name, self.at(name))

    def _text_at(self, value: object, at: str) -> str:
        if not isinstance(value, str):
            raise ManifestError(self.what, f"{at}: is {_kind(value)}, not a string")
        if "\0" in value:
            raise ManifestError(self.what, f"{at}: contains a NUL character")
        return value

    def _digest(self, text: str, at: str) -> Digest:
        try:
            return Digest(text)
        except InvalidReferenceError as error:
            raise ManifestError(self.what, f"{at}: {error.why}") from error


def _at(path: str, why: str) -> str:
    return f"{path}: {why}" if path else why
