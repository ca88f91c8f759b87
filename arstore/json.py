"""The standard library's `json` for plain calls, without its modules.

`json` imports `re`, for its errors and its decoder in Python. The interpreter's own reader and writer do the work in
both. What they cannot do (options, errors, other encodings) is left to the standard library, so the results and the
exceptions are the same.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import IO, Any

_BLANK = " \t\n\r"


def _whole() -> ModuleType:
    """The standard library's module."""
    import json

    return json


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as json
    """The names that are not defined here, such as JSONDecodeError, are the standard library's (PEP 562)."""
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(_whole(), name)


class _Settings:
    """What the interpreter's reader asks for; see `json.decoder.JSONDecoder`."""

    strict = True
    object_hook = array_hook = None

    def __init__(
        self,
        object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
        parse_float: Callable[[str], Any] = float,
        parse_int: Callable[[str], Any] = int,
        parse_constant: Callable[[str], Any] = float,
    ) -> None:
        self.memo: dict[str, str] = {}
        self.object_pairs_hook, self.parse_constant = object_pairs_hook, parse_constant
        self.parse_float, self.parse_int = parse_float, parse_int


def _not_serializable(value: object) -> object:
    return _whole().JSONEncoder().default(value)


try:
    if hasattr(sys, "gettotalrefcount"):
        raise ImportError("an interpreter for debugging, which does not survive the SystemError in `loads`")
    # Of the interpreter, and undocumented.
    from _json import encode_basestring, make_encoder, make_scanner
    from _json import encode_basestring_ascii as encode_basestring_ascii

    _scan = make_scanner(_Settings())  # type: ignore[arg-type] # typeshed wants a scanner
    make_encoder({}, _not_serializable, encode_basestring_ascii, None, ": ", ", ", False, False, True)
except (ImportError, TypeError, AttributeError):
    sys.modules[__name__] = _whole()


def loads(text: str | bytes | bytearray, **options: Any) -> Any:  # noqa: ANN401 - as json
    """As `json.loads`, with the options of `_Settings`. Raises ValueError (`json.JSONDecodeError`), RecursionError."""
    scan = make_scanner(_Settings(**options)) if options else _scan  # type: ignore[arg-type] # as above
    if not isinstance(text, str):
        start = bytes(text[:4])
        if 0 in start or start[:2] in {b"\xff\xfe", b"\xfe\xff"} or start[:3] == b"\xef\xbb\xbf":
            return _whole().loads(text, **options)
        text = text.decode("utf-8", "surrogatepass")
    start_at = len(text) - len(text.lstrip(_BLANK)) if text[:1] in _BLANK else 0
    try:
        value, end = scan(text, start_at)
    except (StopIteration, SystemError):
        # The reader has a class for its errors only if `json.decoder` is loaded. Without it, older versions of Python
        # raise nothing, which the interpreter reports as SystemError.
        return _whole().loads(text, **options)
    if end != len(text) and text[end:].strip(_BLANK):
        return _whole().loads(text, **options)
    return value


def load(file: IO[str] | IO[bytes], **options: Any) -> Any:  # noqa: ANN401 - as json
    """As `json.load`. Raises as `loads`, and OSError."""
    return loads(file.read(), **options)


def dumps(
    value: object,
    *,
    ensure_ascii: bool = True,
    allow_nan: bool = True,
    indent: str | int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As `json.dumps`, with these options. Raises TypeError, ValueError, RecursionError."""
    if indent is not None:
        made: str = _whole().dumps(
            value,
            ensure_ascii=ensure_ascii,
            allow_nan=allow_nan,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )
        return made
    text = encode_basestring_ascii if ensure_ascii else encode_basestring
    if isinstance(value, str):
        return str(text(value))
    between, after = separators or (", ", ": ")
    write = make_encoder({}, _not_serializable, text, None, after, between, sort_keys, False, allow_nan)
    return "".join(write(value, 0))
