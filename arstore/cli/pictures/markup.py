"""Text for HTML, SVG and JSON in HTML: escaped twice, for people (control characters) and for the format."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from arstore import json
from arstore.cli.terminal.output import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

_IEC = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_IN_SCRIPT = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def iec_size(count: float) -> str:
    """Return a number of bytes in powers of 1024, with three digits: `512 B`, `1.46 GiB`, `63.2 MiB`."""
    unit = _IEC[0]
    for unit in _IEC:
        if count < 1023.5 or unit == _IEC[-1]:
            break
        count /= 1024
    if unit == "B":
        return f"{count:.0f} B"
    return f"{count:.2f} {unit}" if count < 9.995 else f"{count:.1f} {unit}" if count < 99.95 else f"{count:.0f} {unit}"


def text(value: str) -> str:
    """Return *value* as text of HTML or XML. Control characters and bytes that are not UTF-8 are escaped visibly."""
    return escape(printable(value))


def tag(name: str, attributes: Mapping[str, object], *content: str) -> str:
    """Return an element. Values of attributes are escaped, and *content* has to be markup already."""
    words = "".join(f' {key}="{text(str(value))}"' for key, value in attributes.items())
    return f"<{name}{words}>{''.join(content)}</{name}>"


def data_script(document: object) -> str:
    """Return the content of a script element with JSON: plain ASCII without a character that HTML could interpret."""
    return json.dumps(document, separators=(",", ":")).translate(_IN_SCRIPT)
