"""Kinds of value that are quick to define: a short command defines about forty, and uses few of them.

`typing.NamedTuple` writes and compiles a constructor for each class, and checks each annotation: 0.08 ms a class. Here
a class is made in 0.01 ms, and its constructor at its first use. Type checkers see `typing.NamedTuple`.
A data class takes 0.5 ms, and `Slotted` nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self
    from typing import NamedTuple as NamedTuple
else:
    from collections import namedtuple

    def _to_be_made(owner: type) -> Callable[..., Any]:
        """Return a constructor that makes the class's real one, puts it into its own place, and calls it."""

        def make(cls: type, /, *arguments: object, **named: object) -> object:
            defaults = owner._field_defaults.values()
            real = namedtuple(owner.__name__, owner._fields, defaults=defaults, module=owner.__module__)
            owner.__new__ = real.__new__
            return real.__new__(cls, *arguments, **named)

        return make

    class _Values(tuple):
        """What all of these classes have; `collections.namedtuple` says what each method does."""

        __slots__ = ()

        @classmethod
        def _make(cls, values: Iterable[object]) -> object:
            return cls(*values)

        def _replace(self, /, **changes: object) -> object:
            values = {**self._asdict(), **changes}
            if len(values) > len(self._fields):
                raise ValueError(f"{type(self).__name__} has no fields {sorted(changes.keys() - set(self._fields))}")
            return type(self)(**values)

        def _asdict(self) -> dict[str, object]:
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self) -> str:
            return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

        def __getnewargs__(self) -> tuple[object, ...]:
            return tuple(self)

        __replace__ = _replace

    class _Maker(type):
        """Makes a subclass of _Values in place of a class that names NamedTuple as its base."""

        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            if "__annotations__" not in namespace:
                raise TypeError(f"{name} has no annotations of fields; its module needs `annotations` from __future__")
            fields = tuple(namespace["__annotations__"])
            defaults = {field: namespace.pop(field) for field in fields if field in namespace}
            if tuple(defaults) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"a field without a default follows one with a default in {name}")
            namespace |= {field: _getter(number, None) for number, field in enumerate(fields)}
            namespace |= {"_fields": fields, "__match_args__": fields, "_field_defaults": defaults, "__slots__": ()}
            made = type(name, (_Values,), namespace)
            made.__new__ = _to_be_made(made)
            return made

    class _Base:
        """Stands in the list of bases; see PEP 560."""

        def __mro_entries__(self, _: object) -> tuple[type, ...]:
            return (_Marked,)

    _getter = type(namedtuple("_Example", "field").field)
    """The interpreter's own attribute of a named tuple, which reads one element."""
    _Marked = type.__new__(_Maker, "NamedTuple", (), {})
    NamedTuple = _Base()


class Slotted:
    """A value with attributes that can be set: its class names them in `__match_args__`, in the order of
    its constructor's parameters, has them as `__slots__`, and sets all when it is made.
    """

    __match_args__: tuple[str, ...] = ()
    __slots__ = __match_args__

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    __hash__ = None  # type: ignore[assignment] # as of every value that changes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__match_args__)})"

    def replaced(self, **changes: object) -> Self:
        """Return a copy with other values of some attributes."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__match_args__}
        return type(self)(**(values | changes))
