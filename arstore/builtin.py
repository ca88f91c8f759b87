"""Small parts of the standard library, without the modules that they are in.

Nearly every module of arstore uses one of these. In the standard library they come with `contextlib`, `functools`,
`collections`, `re`, `enum` and `typing`, which take as long to import as everything that a short command does
(docs/design/startup.md). Type checkers see the standard library's.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import ExitStack as ExitStack
    from contextlib import contextmanager as contextmanager
    from contextlib import nullcontext as nullcontext
    from contextlib import suppress as suppress
    from enum import Enum as Enum
    from functools import cache as cache
    from functools import cached_property as cached_property
    from functools import lru_cache as lru_cache
    from functools import partial as partial
    from operator import add as add
    from operator import attrgetter as attrgetter
    from operator import itemgetter as itemgetter
    from re import compile as _compile
    from threading import Lock as Lock
    from types import MappingProxyType as MappingProxyType
    from typing import Generic as Generic
    from typing import Protocol as Protocol
    from typing import TypedDict as TypedDict
    from typing import cast as cast

    pattern = _compile
else:
    from _functools import _lru_cache_wrapper
    from _functools import partial as partial
    from _operator import add as add
    from _operator import attrgetter as attrgetter
    from _operator import itemgetter as itemgetter
    from _thread import allocate_lock as Lock  # noqa: F401, N812 - named as in threading

    MappingProxyType = type(type.__dict__)

    class suppress:  # noqa: N801 - named as in contextlib
        """Suppress errors of these classes in a `with` block. No groups of errors, which arstore does not raise."""

        __slots__ = ("_kinds",)

        def __init__(self, *kinds: type[BaseException]) -> None:
            self._kinds = kinds

        def __enter__(self) -> None:
            pass

        def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
            return kind is not None and issubclass(kind, self._kinds)

    class _Block:
        """One `with` block of a function that `contextmanager` has decorated: runs its generator."""

        __slots__ = ("_made",)

        def __init__(self, made) -> None:  # noqa: ANN001 - a generator; `collections.abc` would have to be imported
            self._made = made

        def __enter__(self) -> object:
            for value in self._made:
                return value
            raise RuntimeError("the generator did not yield")

        def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
            if error is None:
                for _ in self._made:
                    self._made.close()
                    raise RuntimeError("the generator yielded twice")
                return False
            try:
                self._made.throw(error)
            except StopIteration as end:
                # The block's own StopIteration reaches the generator as RuntimeError (PEP 479).
                return end is not error
            except BaseException as raised:
                if raised is not error and not (isinstance(error, StopIteration) and raised.__cause__ is error):
                    raise
                # `with` raises it again; without this, its traceback would have the generator's lines in addition.
                error.__traceback__ = trace
                return False
            self._made.close()
            raise RuntimeError("the generator yielded again after an error")

    class nullcontext:  # noqa: N801 - named as in contextlib
        """A `with` block that does nothing."""

        __slots__ = ("_value",)

        def __init__(self, value: object = None) -> None:
            self._value = value

        def __enter__(self) -> object:
            return self._value

        def __exit__(self, *_: object) -> None:
            pass

    class ExitStack:
        """Exits that are done in reverse order at the end of a `with` block, as contextlib's."""

        def __init__(self) -> None:
            self._exits: list = []

        def enter_context(self, block) -> object:  # noqa: ANN001 - any context manager
            """Enter *block*, to be left with this one."""
            kind = type(block)
            leave = kind.__exit__
            value = kind.__enter__(block)
            self._exits.append(partial(leave, block))
            return value

        def push(self, block) -> object:  # noqa: ANN001 - a context manager or a function like its `__exit__`
            """Leave *block* with this one, without entering it."""
            leave = getattr(type(block), "__exit__", None)
            self._exits.append(block if leave is None else partial(leave, block))
            return block

        def callback(self, function, /, *arguments: object, **named: object) -> object:  # noqa: ANN001
            """Call *function* at the end."""

            def leave(*_: object) -> None:
                function(*arguments, **named)

            self._exits.append(leave)
            return function

        def pop_all(self) -> ExitStack:
            """Hand all exits over to a new stack."""
            moved = type(self)()
            moved._exits, self._exits = self._exits, []
            return moved

        def close(self) -> None:
            """Leave everything now."""
            self.__exit__(None, None, None)

        def __enter__(self) -> ExitStack:
            return self

        def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
            first, raised = error, None
            while self._exits:
                leave = self._exits.pop()
                try:
                    if leave(None if error is None else type(error), error, trace):
                        error = trace = raised = None
                except BaseException as new:
                    _follow(new, error, first)
                    error, trace, raised = new, new.__traceback__, new
            if raised is not None:
                context = raised.__context__
                try:
                    raise raised
                finally:
                    raised.__context__ = context
            return first is not None and error is None

    def _follow(new: BaseException, error: BaseException | None, first: BaseException | None) -> None:
        """Make *error* the context of *new*, in place of *first*, which the interpreter took for it."""
        while new.__context__ is not None and new.__context__ is not error:
            if new.__context__ is first:
                break
            new = new.__context__
        else:
            if new.__context__ is error:
                return
        if new is not error:
            new.__context__ = error

    class _Enumeration(type):
        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, object]) -> type:
            names = [] if not bases else [one for one in namespace if one[:1] != "_"]
            values = {one: namespace.pop(one) for one in names if not hasattr(namespace[one], "__get__")}
            made = super().__new__(cls, name, bases, namespace)
            made.__members__ = {}
            for one, value in values.items():
                member = object.__new__(made)
                member.name, member.value = one, value
                made.__members__[one] = member
                type.__setattr__(made, one, member)
            return made

        def __call__(cls, value: object) -> object:
            for one in cls.__members__.values():
                if one is value or one.value == value:
                    return one
            raise ValueError(f"{value!r} is not a valid {cls.__qualname__}")

        def __iter__(cls):  # noqa: ANN204 - an iterator
            return iter(cls.__members__.values())

        def __len__(cls) -> int:
            return len(cls.__members__)

        def __getitem__(cls, name: str) -> object:
            return cls.__members__[name]

        def __setattr__(cls, name: str, value: object) -> None:
            if name in cls.__dict__.get("__members__", ()):
                raise AttributeError(f"cannot reassign member {name!r}")
            type.__setattr__(cls, name, value)

    class Enum(metaclass=_Enumeration):
        """An enumeration of plain values, without aliases."""

        __slots__ = ("__weakref__", "name", "value")

        def __repr__(self) -> str:
            return f"<{type(self).__name__}.{self.name}: {self.value!r}>"

        def __str__(self) -> str:
            return f"{type(self).__name__}.{self.name}"

        def __copy__(self) -> object:
            return self

        def __deepcopy__(self, _: object) -> object:
            return self

        def __reduce__(self) -> tuple[object, ...]:
            return type(self), (self.value,)

    def contextmanager(function):  # noqa: ANN001, ANN201 - as in contextlib
        """Make a context manager of a generator function. It cannot be used as a decorator, unlike contextlib's."""

        def make(*args: object, **named: object) -> _Block:
            return _Block(function(*args, **named))

        return _named(make, function)

    def _named(made, function):  # noqa: ANN001, ANN202 - as functools.update_wrapper
        for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
            setattr(made, name, getattr(function, name))
        made.__wrapped__ = function
        return made

    def cache(function):  # noqa: ANN001, ANN201 - as in functools
        """Remember all results of *function*."""
        return _named(_lru_cache_wrapper(function, None, False, lambda *counts: counts), function)

    def lru_cache(maxsize: int):  # noqa: ANN201 - as in functools
        """Remember the last *maxsize* results of the decorated function."""
        return lambda function: _named(_lru_cache_wrapper(function, maxsize, False, lambda *counts: counts), function)

    class cached_property:  # noqa: N801 - named as in functools
        """An attribute that its function calculates at the first access."""

        def __init__(self, function) -> None:  # noqa: ANN001 - any function of one argument
            self._function, self.__doc__ = function, function.__doc__

        def __set_name__(self, _: type, name: str) -> None:
            self._name = name

        def __get__(self, owner: object, _: type | None = None) -> object:
            if owner is None:
                return self
            value = owner.__dict__[self._name] = self._function(owner)
            return value

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

    class Generic:
        """Base of generic classes: only type checkers look at the parameters."""

        __slots__ = ()

        def __class_getitem__(cls, _: object) -> type:
            return cls

    class Protocol:
        """Only type checkers look at the protocols of short commands."""

        __slots__ = ()

    class TypedDict(dict):
        """Only type checkers look at the keys of such a class."""

        def __init_subclass__(cls, *, total: bool = True) -> None:
            pass

    def cast(_: object, value: object) -> object:
        """Return *value*."""
        return value
