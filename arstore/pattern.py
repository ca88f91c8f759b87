"""Regular expressions that are compiled at their first use: a command defines about thirty, and uses few."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import compile as _compile

    pattern = _compile
else:

    class pattern:  # noqa: N801 - it takes the place of `re.compile`
        """A regular expression that is compiled at its first use."""

        def __init__(self, text: str | bytes, flags: int = 0) -> None:
            self._text, self._flags = text, flags

        def __getattr__(self, name: str) -> object:
            if name.startswith("__"):
                raise AttributeError(name)
            import re

            made = re.compile(self._text, self._flags)
            for one in ("fullmatch", "match", "search", "sub", "subn", "split", "findall", "finditer", "pattern"):
                setattr(self, one, getattr(made, one))
            return getattr(made, name)
