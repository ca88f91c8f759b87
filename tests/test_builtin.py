"""arstore.builtin, arstore.json and arstore.dataclass against those of the standard library."""

import contextlib
import copy
import dataclasses
import enum
import json
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from arstore import builtin
from arstore import dataclass as ours
from arstore import json as own_json

ROOT = Path(__file__).resolve().parents[1]
BOTH = pytest.mark.parametrize("module", [contextlib, builtin], ids=["contextlib", "builtin"])


def blocks(module):
    """Context managers that end in every way a generator can."""

    @module.contextmanager
    def plain(log):
        log.append("in")
        yield "value"
        log.append("out")

    @module.contextmanager
    def final(log):
        try:
            yield "value"
        finally:
            log.append("final")

    @module.contextmanager
    def suppressing(log):
        with contextlib.suppress(ValueError):
            yield "value"
        log.append("after")

    @module.contextmanager
    def replacing(log):
        try:
            yield "value"
        except ValueError as error:
            raise KeyError("other") from error

    @module.contextmanager
    def wordless(log):
        if log is None:
            yield

    @module.contextmanager
    def twice(log):
        yield 1
        yield 2

    @module.contextmanager
    def stubborn(log):
        try:
            yield 1
        except ValueError:
            yield 2

    return plain, final, suppressing, replacing, wordless, twice, stubborn


def outcome(block, error):
    """The log of a `with` block, and its errors from the last to the first."""
    log = []
    try:
        with block(log) as value:
            log.append(value)
            if error is not None:
                raise error
        log.append("done")
    except BaseException as raised:
        chain = []
        while raised is not None:
            chain.append(type(raised).__name__)
            raised = raised.__cause__ or (None if raised.__suppress_context__ else raised.__context__)
        log.append(chain)
    return log


def test_context_managers_do_as_those_of_contextlib():
    for own, other in zip(blocks(builtin), blocks(contextlib), strict=True):
        for error in (None, ValueError("x"), StopIteration(1), GeneratorExit(), KeyboardInterrupt(), RuntimeError("y")):
            again = None if error is None else type(error)(*error.args)
            assert outcome(own, error) == outcome(other, again), (own.__name__, error)


def test_a_traceback_has_the_lines_of_the_block_only():
    @builtin.contextmanager
    def block():
        yield

    with pytest.raises(ValueError, match="x") as caught, block():
        raise ValueError("x")
    assert [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)] == [
        "test_a_traceback_has_the_lines_of_the_block_only"
    ]
    assert (block.__name__, block.__wrapped__.__name__) == ("block", "block")


@BOTH
def test_an_exit_stack(module):
    log = []

    class Block:
        def __init__(self, name, answer=False, error=None):
            self.name, self.answer, self.error = name, answer, error

        def __enter__(self):
            log.append(f"+{self.name}")
            return self.name

        def __exit__(self, kind, error, trace):
            log.append((self.name, kind and kind.__name__, str(error)))
            if self.error is not None:
                raise self.error
            return self.answer

    with module.ExitStack() as stack:
        assert stack.enter_context(Block("a")) == "a"
        stack.callback(log.append, "called")
        stack.push(Block("pushed"))
        kept = stack.pop_all()
    assert log == ["+a"]
    kept.close()
    assert log[1:] == [("pushed", None, "None"), "called", ("a", None, "None")]
    # An error is passed on, replaced and suppressed.
    log.clear()
    with module.ExitStack() as stack:
        stack.enter_context(Block("swallows", answer=True))
        stack.enter_context(Block("raises", error=KeyError("second")))
        raise ValueError("first")
    assert log[2:] == [("raises", "ValueError", "first"), ("swallows", "KeyError", "'second'")]

    def leave_badly():
        with module.ExitStack() as stack:
            stack.enter_context(Block("b", error=OSError("third")))
            stack.enter_context(Block("c", error=KeyError("second")))
            raise ValueError("first")

    with pytest.raises(OSError, match="third") as caught:
        leave_badly()
    chain = (caught.value, caught.value.__context__, caught.value.__context__.__context__)
    assert [str(one) for one in chain] == ["third", "'second'", "first"]


@BOTH
def test_suppress_and_nullcontext(module):
    with module.suppress(OSError, KeyError):
        raise FileNotFoundError
    with pytest.raises(ValueError, match="x"), module.suppress(OSError):
        raise ValueError("x")
    with module.nullcontext(7) as value:
        assert value == 7


@pytest.mark.parametrize("base", [enum.Enum, builtin.Enum], ids=["enum", "builtin"])
def test_enumerations(base):
    class Colour(base):
        """A colour."""

        RED = "r"
        GREEN = "g"

        @property
        def upper(self):
            return self.value.upper()

        @classmethod
        def first(cls):
            return next(iter(cls))

    assert list(Colour) == [Colour.RED, Colour.GREEN]
    assert (Colour("g"), Colour["RED"], len(Colour)) == (Colour.GREEN, Colour.RED, 2)
    assert (Colour.RED.name, Colour.RED.value, Colour.RED.upper, Colour.first()) == ("RED", "r", "R", Colour.RED)
    assert isinstance(Colour.RED, Colour)
    assert {Colour.RED: 1}[Colour.RED] == 1
    assert (str(Colour.RED), repr(Colour.RED)) == ("Colour.RED", "<Colour.RED: 'r'>")
    assert copy.deepcopy([Colour.RED])[0] is Colour.RED
    assert Colour.RED != "r"
    with pytest.raises(ValueError, match="'x' is not a valid"):
        Colour("x")
    with pytest.raises(AttributeError):
        Colour.RED = 1


def test_a_pattern_is_compiled_when_it_is_used():
    found = builtin.pattern("([a-z]+)=([0-9]+)")
    assert "fullmatch" not in vars(found)
    assert found.fullmatch("a=1").groups() == ("a", "1")
    assert found.sub("x", "b=2 c=3") == "x x"
    assert found.search("-") is None


def test_caches():
    calls = []

    class Holder:
        @builtin.cached_property
        def value(self):
            calls.append("property")
            return 5

    @builtin.cache
    def one(number):
        calls.append(number)
        return -number

    holder = Holder()
    assert (holder.value, holder.value, one(1), one(1), one(2)) == (5, 5, -1, -1, -2)
    assert calls == ["property", 1, 2]
    one.cache_clear()
    assert (one(1), calls) == (-1, ["property", 1, 2, 1])


TEXTS = (
    *("", "{", "[1,]", "nul", '{"a":1}x', " \n", '"\\ud800"', "[1e999,-Infinity,NaN]", "\ufeff1"),
    *('{"a":1,"a":2}', "-", "tru", '"a', "[" * 100_000),
    *(
        '"\\ud83d\\ude00"',
        '"\n"',
        "1" * 5000,
        "[1] \n",
        " [1]",
        "1.5e3",
        "tru",
        '"a',
        "[" * 100_000,
        "{}",
        '{"é": "ü"}',
    ),
)


def result(function, *arguments, **options):
    try:
        return repr(function(*arguments, **options))
    except (ValueError, TypeError, RecursionError) as error:
        return type(error), "" if isinstance(error, RecursionError) else str(error)


@pytest.mark.parametrize("encoding", [None, "utf-8", "utf-16", "utf-32-le"])
def test_json_is_read_as_by_the_standard_library(encoding):
    for text in TEXTS:
        data = text if encoding is None else text.encode(encoding, "surrogatepass")
        assert result(own_json.loads, data) == result(json.loads, data), text[:30]
        for options in ({"parse_int": str, "parse_float": str}, {"object_pairs_hook": list, "parse_constant": str}):
            assert result(own_json.loads, data, **options) == result(json.loads, data, **options), text[:30]


READ = """
import sys
from arstore import json
assert "json" not in sys.modules
for number, text in enumerate(TEXTS):
    for option in ({}, {"parse_int": str}):
        for name in ("json", "json.decoder", "json.scanner", "json.encoder"):
            sys.modules.pop(name, None)
        try:
            json.loads(text, **option)
        except (ValueError, RecursionError) as error:
            print(number, type(error).__name__)
"""


def test_malformed_json_is_an_error_before_the_standard_librarys_module_is_loaded():
    texts = [text for text in TEXTS if len(text) < 10_000]
    code = READ.replace("TEXTS", ascii(texts))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    wrong = [
        number
        for number, text in enumerate(texts)
        for options in ({}, {"parse_int": str})
        if isinstance(result(json.loads, text, **options), tuple)
    ]
    assert [int(line.split()[0]) for line in done.stdout.splitlines()] == wrong


def test_json_is_written_as_by_the_standard_library():
    values = ({1: 2, None: 3, False: "€\ud800"}, [1.5, float("inf"), 'a"\\'], "x€", (), {"b": 1, "a": [{}]}, 1, None)
    values += (object(), {(1,): 2}, [{1}], {"a": float("nan")})
    for options in ({}, {"ensure_ascii": False}, {"separators": (",", ":")}, {"indent": 2}, {"sort_keys": True}):
        for value in values:
            assert result(own_json.dumps, value, **options) == result(json.dumps, value, **options), (value, options)
    assert own_json.JSONDecodeError is json.JSONDecodeError


def made(module):
    @module.dataclass(slots=True, frozen=True)
    class Frozen:
        """A value."""

        a: int
        b: str = "b"
        c: dict = module.field(default_factory=dict, hash=False)
        d: bytes | None = module.field(default=None, repr=False, compare=False)

    @module.dataclass(slots=True)
    class Open:
        """Another value."""

        x: int
        y: list = module.field(default_factory=list)

    @module.dataclass(slots=True, frozen=True, kw_only=True)
    class Named(Frozen):
        """With fields of a base."""

        e: tuple = ()

    return Frozen, Open, Named


@pytest.mark.parametrize("module", [dataclasses, ours], ids=["dataclasses", "dataclass"])
def test_data_classes(module):
    frozen, changing, named = made(module)
    one = frozen(1, c={"k": 1}, d=b"x")
    assert (one.a, one.b, one.c, one.d) == (1, "b", {"k": 1}, b"x")
    assert one == frozen(1, "b", {"k": 1})
    assert one != frozen(1, "b", {})
    assert one != (1, "b")
    assert hash(one) == hash(frozen(1))
    assert repr(one).rpartition(".")[2] == "Frozen(a=1, b='b', c={'k': 1})"
    assert module.replace(one, b="z") == frozen(1, "z", {"k": 1})
    assert dataclasses.replace(one, b="z") == frozen(1, "z", {"k": 1})
    assert [one.name for one in dataclasses.fields(frozen)] == ["a", "b", "c", "d"]
    assert dataclasses.asdict(changing(1, [2])) == {"x": 1, "y": [2]}
    assert frozen.__match_args__ == ("a", "b", "c", "d")
    assert frozen(1).c is not frozen(1).c
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.a = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.a
    with pytest.raises(AttributeError):
        changing(1).other = 2
    with pytest.raises(TypeError):
        hash(changing(1))
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        frozen()
    with pytest.raises(TypeError):
        named(1, "b", {}, None, ())
    assert (named(1, e=(2,)).e, named(1).e) == ((2,), ())


@ours.dataclass(slots=True, frozen=True)
class Packed:
    """A value of this module, for pickle."""

    a: int
    b: tuple = ()


def test_a_frozen_data_class_can_be_pickled():
    assert pickle.loads(pickle.dumps(Packed(1, (2,)))) == Packed(1, (2,))
    assert ours.field_names(Packed(1)) == {"a": None, "b": None}.keys() or list(ours.field_names(Packed(1))) == [
        "a",
        "b",
    ]
    assert ours.field_names(5) is None
