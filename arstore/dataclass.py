"""Data classes that are quick to define: their methods are made at the first use of each class.

`dataclasses` takes 10 ms to import, and writes and compiles up to eight methods for each class (0.5 ms). Here a class
takes 0.02 ms, and its constructor 0.1 ms when the first value is made. Type checkers see `dataclasses`, and so do
`dataclasses.fields`, `replace` and `asdict`, which work with these classes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
    from typing import Any
else:
    _NONE = object()
    _set = object.__setattr__

    class _Field:
        """The settings of one field; `default` is _NONE if it has none, and `factory` makes a default."""

        __slots__ = ("compare", "default", "factory", "hash", "is_init", "only_named", "repr")

        def __init__(self, default, factory, repr, hash, compare, only_named, is_init) -> None:  # noqa: ANN001
            self.default, self.factory, self.repr, self.compare = default, factory, repr, compare
            self.hash = compare if hash is None else hash
            self.only_named, self.is_init = only_named, is_init

        @property
        def has_default(self) -> bool:
            """Whether the constructor may be called without it."""
            return self.default is not _NONE or self.factory is not None

    def field(  # noqa: D103 - see dataclasses.field
        *,
        default: object = _NONE,
        default_factory: Callable[[], object] | None = None,
        repr: bool = True,
        hash: bool | None = None,
        compare: bool = True,
        kw_only: bool = False,
        init: bool = True,
    ) -> _Field:
        return _Field(default, default_factory, repr, hash, compare, kw_only, init)

    def dataclass(
        cls: type | None = None, /, *, slots: bool = False, frozen: bool = False, kw_only: bool = False
    ) -> Any:  # noqa: ANN401 - a class, or its decorator
        """Make a data class of *cls*; see `dataclasses.dataclass`."""
        if cls is None:
            return lambda cls: _made(cls, slots, frozen, kw_only)
        return _made(cls, slots, frozen, kw_only)

    def _made(cls: type, slots: bool, frozen: bool, kw_only: bool) -> type:
        known = {}
        for base in cls.__mro__[-1:0:-1]:
            known.update(base.__dict__.get("_fields_", ()))
        own = {
            name: _field_of(cls.__dict__.get(name, _NONE), kw_only)
            for name, kind in vars(cls).get("__annotations__", {}).items()
            if not str(kind).startswith(("ClassVar", "typing.ClassVar"))
        }
        known.update(own)
        given = {name: one for name, one in cls.__dict__.items() if name not in {"__dict__", "__weakref__"}}
        for name in own:
            given.pop(name, None)
            if not slots and own[name].default is not _NONE:
                given[name] = own[name].default
        given["_fields_"], given["_frozen_"] = known, frozen
        given["__dataclass_fields__"] = _Described()
        positional = [name for name, one in known.items() if one.is_init and not one.only_named]
        given.setdefault("__match_args__", tuple(positional))
        methods = {"__init__": _first_init, "__repr__": _repr, "__eq__": _eq}
        methods["__hash__"] = _hash if frozen else None
        if frozen:
            methods |= {"__setattr__": _no_set, "__delattr__": _no_delete}
        if frozen and slots:
            methods |= {"__getstate__": _state, "__setstate__": _restore}
        for name, method in methods.items():
            if name not in given or (name == "__hash__" and given[name] is None):
                given[name] = method
        if slots:
            inherited = {name for base in cls.__mro__[1:] for name in base.__dict__.get("_fields_", ())}
            given["__slots__"] = tuple(name for name in own if name not in inherited)
        return type(cls)(cls.__name__, cls.__bases__, given)

    def _field_of(value: object, kw_only: bool) -> _Field:
        if isinstance(value, _Field):
            value.only_named = value.only_named or kw_only
            return value
        if isinstance(value, list | dict | set):
            raise TypeError("a default that can change needs a default_factory")
        return _Field(value, None, True, None, True, kw_only, True)

    def _first_init(self, /, *values: object, **named: object) -> None:  # noqa: ANN001
        """Make the constructor of the class that has this one, put it there, and call it."""
        owner = next(one for one in type(self).__mro__ if one.__dict__.get("__init__") is _first_init)
        scope: dict[str, object] = {"_set": _set, "_none": _NONE}
        positional, only_named, body = ["self"], [], []
        for name, one in owner._fields_.items():
            value = name
            if one.factory is not None:
                scope[f"_make_{name}"] = one.factory
                value = f"_make_{name}()" + (f" if {name} is _none else {name}" if one.is_init else "")
            elif one.default is not _NONE:
                scope[f"_default_{name}"] = one.default
                value = name if one.is_init else f"_default_{name}"
            body.append(f"_set(self, {name!r}, {value})" if owner._frozen_ else f"self.{name} = {value}")
            if one.is_init:
                default = "" if not one.has_default else "=_none" if one.factory else f"=_default_{name}"
                (only_named if one.only_named else positional).append(name + default)
        if hasattr(owner, "__post_init__"):
            body.append("self.__post_init__()")
        words = ", ".join(positional + (["*", *only_named] if only_named else []))
        text = f"def __init__({words}):\n " + "\n ".join(body or ["pass"])
        exec(text, scope)
        made = scope["__init__"]
        made.__qualname__ = f"{owner.__qualname__}.__init__"
        owner.__init__ = made
        made(self, *values, **named)

    def _values(value: object, wanted: str) -> tuple[object, ...]:
        return tuple(getattr(value, name) for name, one in value._fields_.items() if getattr(one, wanted))

    def _repr(self) -> str:  # noqa: ANN001
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name, one in self._fields_.items() if one.repr)
        return f"{type(self).__qualname__}({shown})"

    def _eq(self, other: object) -> bool:  # noqa: ANN001
        if type(other) is not type(self):
            return NotImplemented
        return _values(self, "compare") == _values(other, "compare")

    def _hash(self) -> int:  # noqa: ANN001
        return hash(_values(self, "hash"))

    def _no_set(self, name: str, value: object) -> None:  # noqa: ANN001
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def _no_delete(self, name: str) -> None:  # noqa: ANN001
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def _state(self) -> list[object]:  # noqa: ANN001
        return [getattr(self, name) for name in self._fields_]

    def _restore(self, state: list[object]) -> None:  # noqa: ANN001
        for name, value in zip(self._fields_, state, strict=True):
            _set(self, name, value)

    def replace(value, /, **changes: object) -> object:  # noqa: ANN001
        """Return a copy of *value* with other values of some fields."""
        for name, one in value._fields_.items():
            if one.is_init:
                changes.setdefault(name, getattr(value, name))
        return type(value)(**changes)

    class _Described:
        """The attribute `__dataclass_fields__`, made when `dataclasses.fields` or its like first asks for it."""

        def __get__(self, _: object, owner: type) -> object:
            from dataclasses import field, make_dataclass

            described = []
            for name, one in owner._fields_.items():
                settings = {"repr": one.repr, "compare": one.compare, "hash": one.hash, "kw_only": one.only_named}
                if one.factory is not None:
                    settings["default_factory"] = one.factory
                elif one.default is not _NONE:
                    settings["default"] = one.default
                described.append((name, "object", field(init=one.is_init, **settings)))
            found = make_dataclass(owner.__name__, described).__dataclass_fields__
            owner.__dataclass_fields__ = found
            return found


def field_names(value: object) -> Iterable[str] | None:
    """The names of the fields of *value*; None if its class is not a data class."""
    known: Iterable[str] | None = getattr(type(value), "_fields_", None)
    return known if known is not None else getattr(value, "__dataclass_fields__", None)
