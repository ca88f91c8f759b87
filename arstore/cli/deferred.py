"""Deferred modules: modules that others import but rarely use are loaded on first use.

The standard library's dataclasses import `inspect`, which imports six more modules, among them those of the compiler.
It is needed only for data classes without a docstring.

A placeholder module imports the real one on first attribute access, and forwards to it from then on. Code that imports
the module after that gets the real one.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


class _Deferred(ModuleType):
    """A placeholder for a module that is not loaded yet."""

    def __getattr__(self, name: str) -> object:
        # The import machinery looks up dunder attributes, and works without them.
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def defer(*names: str) -> None:
    """Defer loading these modules, unless they are loaded already."""
    for name in names:
        sys.modules.setdefault(name, _Deferred(name))
