"""Modules that others import and hardly ever use: each is read when something is first asked of it.

The standard library's dataclasses import `inspect`, which reads six more modules, the compiler's among them. They need
it only for data classes without a docstring.

In the module's place stands one that reads it at the first look at any of its attributes, and from then on gives what
that has; whoever imports it meanwhile gets the real one.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


class _Deferred(ModuleType):
    """What stands in for a module that has not been read."""

    def __getattr__(self, name: str) -> object:
        # The import machinery looks for its own marks in what it finds, and does without them.
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def defer(*names: str) -> None:
    """Put off reading these modules, unless somebody has read them already."""
    for name in names:
        sys.modules.setdefault(name, _Deferred(name))
