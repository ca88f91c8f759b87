"""Keys that detach a user from a container: a sequence such as `ctrl-p,ctrl-q`, looked for in what is typed."""

from __future__ import annotations

from arstore.errors import UsageError

_CONTROLS = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse_keys(text: str) -> bytes:
    """Return the bytes of a sequence: single characters and `ctrl-X`, separated by commas; b"" for "".

    Raises UsageError.
    """
    if not text:
        return b""
    found = bytearray()
    for word in text.split(","):
        name = word[5:].lower() if word.lower().startswith("ctrl-") else ""
        if len(name) == 1 and name in _CONTROLS:
            found.append(_CONTROLS.index(name))
        elif len(word) == 1 and word.isascii() and word.isprintable():
            found += word.encode()
        else:
            from arstore.oci.document import shown

            why = f"not a key: {shown(word) or 'an empty word'}"
            raise UsageError(f"--detach-keys {shown(text)}", why, "write for example ctrl-p,ctrl-q or ctrl-x,x")
    return bytes(found)


class DetachKeys:
    """Looks for *keys* in the input, and keeps back a beginning of them until the next key."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return the input to pass on, and whether the keys were typed; nothing after them is passed on."""
        if not self._keys:
            return data, False
        whole = self._held + data
        place = whole.find(self._keys)
        if place >= 0:
            self._held = b""
            return whole[:place], True
        length = next(
            (size for size in range(min(len(self._keys) - 1, len(whole)), 0, -1) if whole.endswith(self._keys[:size])),
            0,
        )
        self._held = whole[len(whole) - length :]
        return whole[: len(whole) - length], False

    def rest(self) -> bytes:
        """Return what is kept back, because no key follows."""
        rest, self._held = self._held, b""
        return rest
