"""Kinds of value that are quick to define: a short command defines about forty, and uses few of them.

`typing.NamedTuple` writes and compiles a constructor for each class, and checks each annotation: 0.08 ms a class. Here
a class is made in 0.01 ms, and its constructor at its first use. Type checkers see `typing.NamedTuple`.
A data class takes 0.5 ms, and `Slotted` nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self, TypeVar, dataclass_transform
    from typing import NamedTuple as NamedTuple

    _T = TypeVar("_T")

    @dataclass_transform(frozen_default=True)
    def frozen(cls: type[_T]) -> type[_T]:
        """Make a frozen data class of *cls*, without the time that `dataclasses` takes to import."""
        return cls

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
        """Base of all these classes; see `collections.namedtuple` for the methods."""

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

    class _Fields:
        """The attribute `__dataclass_fields__`, made when `dataclasses.fields` or its like first asks for it."""

        def __get__(self, _: object, owner: type) -> object:
            from dataclasses import MISSING, field, make_dataclass

            specified = [
                (name, kind, field(default=owner._defaults.get(name, MISSING)))
                for name, kind in owner._annotations.items()
            ]
            found = make_dataclass(owner.__name__, specified, frozen=True).__dataclass_fields__
            owner.__dataclass_fields__ = found
            return found

    class _Frozen:
        """Base of the classes that `frozen` makes: the methods of a frozen data class, without compiling any."""

        def __init__(self, /, *values: object, **named: object) -> None:
            names = self.__match_args__
            if len(values) > len(names):
                raise TypeError(f"{type(self).__name__} takes {len(names)} values, and {len(values)} are given")
            given = dict(zip(names, values, strict=False))
            if wrong := named.keys() - (set(names) - given.keys()):
                raise TypeError(f"{type(self).__name__} has no field, or two values for it: {', '.join(sorted(wrong))}")
            made = self._defaults | given | named
            if missing := [name for name in names if name not in made]:
                raise TypeError(f"{type(self).__name__} lacks {', '.join(missing)}")
            self.__dict__.update({name: made[name] for name in names})

        def __setattr__(self, name: str, value: object) -> None:
            from dataclasses import FrozenInstanceError

            raise FrozenInstanceError(f"cannot assign to field {name!r}")

        def __delattr__(self, name: str) -> None:
            from dataclasses import FrozenInstanceError

            raise FrozenInstanceError(f"cannot delete field {name!r}")

        def __eq__(self, other: object) -> bool:
            if type(other) is not type(self):
                return NotImplemented
            return self.__dict__ == other.__dict__

        def __hash__(self) -> int:
            return hash(tuple(self.__dict__.values()))

        def __repr__(self) -> str:
            return (
                f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"
            )

    def frozen(cls: type) -> type:
        """Make a frozen data class of *cls*. Its fields are annotated; a default is a value that never changes."""
        names = tuple(cls.__annotations__)
        defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
        namespace = {
            name: value for name, value in cls.__dict__.items() if name not in {"__dict__", "__weakref__", *defaults}
        }
        namespace |= {
            "__match_args__": names,
            "__dataclass_fields__": _Fields(),
            "_annotations": dict(cls.__annotations__),
            "_defaults": defaults,
        }
        return type(cls.__name__, (_Frozen,), namespace)

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
