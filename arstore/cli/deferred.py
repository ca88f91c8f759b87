"""Deferred modules: modules that others import but rarely use are loaded on first use.

The standard library's dataclasses import `inspect`, which imports six more modules, among them those of the compiler.
It is needed only for data classes without a docstring. `typing` imports `re`, `functools`, `contextlib` and others (8
ms together), and most modules of arstore use nothing of it but TYPE_CHECKING.

A placeholder module imports the real one on first attribute access, and forwards to it from then on. Code that imports
the module after that gets the real one.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
else:
    ModuleType = type(sys)


class _Deferred(ModuleType):
    """A placeholder for a module that is not loaded yet."""

    def __getattr__(self, name: str) -> object:
        # The import machinery looks up dunder attributes, and works without them.
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        __import__(self.__name__)
        return getattr(sys.modules[self.__name__], name)


def defer(name: str, **known: object) -> None:
    """Defer loading this module until anything but the *known* attributes is used, unless it is loaded already."""
    if name not in sys.modules:
        module = sys.modules[name] = _Deferred(name)
        module.__dict__.update(known)
