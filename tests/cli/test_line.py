"""Plain command lines: the parser without click must read them as click does."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support import budget

from arstore.cli import clicked
from arstore.cli.group import Group
from arstore.cli.line import parse
from arstore.cli.main import cli
from arstore.cli.parameter import Argument, Choice, Option, Range, Text
from arstore.cli.session import Session
from arstore.errors import UsageError

REPOSITORY = Path(__file__).resolve().parents[2]


def below(group, path=()):
    """Every group and command with the words that name it."""
    yield path, group
    for name in group.entries():
        found = group.find(name)
        if isinstance(found, Group):
            yield from below(found, (*path, name))
        else:
            yield (*path, name), found


DECLARED = dict(below(cli))
LEAVES = {path: one for path, one in DECLARED.items() if not isinstance(one, Group)}
GLOBAL = (
    (),
    ("-q",),
    ("--root", "a"),
    ("--root=b", "--runroot="),
    ("--root", "a", "--root", "c"),
    ("--log-level", "debug"),
    ("-qq", "--log-level=error"),
    ("--log-level", "loud"),
    ("--",),
    ("-h",),
    ("--version",),
)
WORDS = ("x", "a=b", "", "-", "--", "-1", "0", "1.5", " 7 ", "nan", "99", "-x", "--help", "--json", "/", "é")
ENVIRONMENTS = ({}, {"ARSTORE_ROOT": "/r"}, {"ARSTORE_ROOT": "", "ARSTORE_RUNROOT": "/rr"})


def forms(one):
    """Ways to write an option, valid and invalid."""
    kind = one.kind
    values = ["x", "", "-x", "--json"]
    if isinstance(kind, Choice):
        values = [*kind.choices, kind.choices[0].upper()]
    elif isinstance(kind, Range):
        values = ["0", "1", "-1", "2.5", "23", "nan", "x"]
    for name in one.names:
        if not one.takes_value:
            yield from ((name,), (f"{name}={values[0]}",), (f"{name}x",))
            continue
        yield (name,)
        for value in values:
            yield (name, value)
            yield (f"{name}={value}",) if name.startswith("--") else (f"{name}{value}",)


def word_for(one):
    """A word that an argument accepts."""
    return one.kind.choices[0] if isinstance(one.kind, Choice) else "w"


def pieces(declared):
    """Parts of command lines for *declared*."""
    options = [one for one in declared.parameters if isinstance(one, Option)]
    short = [name[1:] for one in options if not one.takes_value for name in one.names if not name.startswith("--")]
    runs = [(f"-{''.join(short)}",), (f"-{''.join(short)}x",)] if short else []
    return [form for one in options for form in forms(one)] + [(word,) for word in WORDS] + runs


CALLS = []
"""Calls of the functions of groups and commands, while they are `recorded`."""


def recorder(path):
    return lambda session, **words: CALLS.append((path, sorted(words.items()))) or len(CALLS)


@pytest.fixture
def recorded():
    """Functions of groups and commands are recorded instead of called."""
    with ExitStack() as stack:
        for path, one in DECLARED.items():
            stack.enter_context(patch.object(one, "function", recorder(path)))
        yield


def seen(run):
    """The calls, and the state of the session, while *run* runs."""
    CALLS.clear()
    session = Session()
    status = run(session)
    return repr((CALLS, status, session.json, session.progress_kind, session.command))


def compare(words, environment):
    """Read *words* in both ways; return whether the line was plain."""
    line = parse(cli, words, environment)
    if line is None:
        return False
    quick = seen(line.run)
    with patch.dict(os.environ, environment, clear=True):
        slow = seen(lambda session: clicked.run(cli, session, list(words)))
    assert quick == slow
    return True


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_click_reads_a_plain_line_alike(path):
    @settings(
        max_examples=60 if budget.long else 15,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
    )
    @given(
        st.sampled_from(GLOBAL),
        st.lists(st.sampled_from(pieces(LEAVES[path])), max_size=5),
        st.sampled_from(ENVIRONMENTS),
    )
    @example((), [], {})
    def alike(first, parts, environment):
        compare([*first, *path, *(word for part in parts for word in part)], environment)

    alike()


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_each_option_in_each_form(path):
    declared = LEAVES[path]
    needed = [word_for(one) for one in declared.parameters if isinstance(one, Argument) and one.required]
    needed += [
        word
        for one in declared.parameters
        if isinstance(one, Option) and one.words.get("required")
        for word in (one.names[0], "w")
    ]
    assert compare([*path, *needed], {})
    lines = [
        line
        for one in declared.parameters
        for form in (forms(one) if isinstance(one, Option) else ())
        for line in ([*path, *form, *needed], [*path, *needed, *form])
    ]
    # An option has about 20 lines: of each, a few; of each form and place, some among all options.
    for line in budget.some(7, lines):
        compare(line, {})


@pytest.mark.parametrize(
    "line",
    [
        "--root a --runroot b --quiet images",
        "images --json",
        "tag base other",
        "-q mount base /mnt --suid",
        "umount --all",
        "run --rm --network none --runtime crun -it -eA=b base sh -c --help",
        "run base -- -x",
        "exec x -- ls --help",
        "container rm -f x y",
        "import --tree erofs --progress=none x.tar",
        "kill --signal TERM x",
    ],
)
@pytest.mark.usefixtures("recorded")
def test_common_lines_are_plain(line):
    assert compare(line.split(), {})


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "--help",
        "--version images",
        "--log-level loud images",
        "images -h",
        "images x y",
        "images --nonsense",
        "images --json=1",
        "inspect --raw --config x",
        "tag a",
        "logs",
        "container",
        "run --rm",
    ],
)
def test_other_lines_are_for_click(line):
    assert parse(cli, line.split(), {}) is None


def test_the_version_ends_a_plain_line(capsys):
    words = ["--root", "a", "-q", "--version"]
    line = parse(cli, words, {})
    assert line is not None
    assert line.run(Session()) == clicked.run(cli, Session(), words) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == out[1] != ""


def test_a_path_that_nobody_may_read_is_for_click(tmp_path):
    (tmp_path / "x").touch()
    with patch("os.access", return_value=False):
        assert parse(cli, ["mount", "a", str(tmp_path / "x")], {}) is None
        assert parse(cli, ["mount", "a", str(tmp_path / "none")], {}) is not None


def test_a_wrong_line_is_an_error_of_ours():
    with pytest.raises(UsageError) as caught:
        clicked.run(cli, Session(), ["tag", "a"])
    assert str(caught.value) == "tag: missing argument 'NAME'; see `arstore tag --help`"


def test_every_word_is_text_unless_said_otherwise():
    assert Text().read("x") == "x"


def fails(words):
    """The usage error for this line; both parsers must refuse it."""
    assert parse(cli, words, {}) is None
    with pytest.raises(UsageError) as caught:
        clicked.run(cli, Session(), words)
    return str(caught.value)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "1e15", "1e300"])
@pytest.mark.parametrize(
    "words",
    [
        ["run", "--timeout", "V", "x"],
        ["run", "--stop-timeout", "V", "x"],
        ["load", "--timeout", "V", "x"],
        ["load", "--timeout-total", "V", "x"],
        ["stop", "--time", "V", "x"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_seconds_are_finite(words, value):
    option = words[1]
    assert option in fails([value if word == "V" else word for word in words])


ANY_TEXT = {
    "entrypoint",
    "user",
    "workdir",
    "hostname",
    "stop_signal",
    "args",
    "author",
    "message",
    "restart",
    "health_cmd",
    "health_startup_cmd",
    "detach_keys",
    "log_driver",
}
"""Parameters for which an empty word has a meaning, or means the same as leaving it out."""


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_an_empty_word_is_refused_by_its_name(path):
    """A script's variable that was never set must not mean the current directory, or nothing."""
    declared = LEAVES[path]
    needed = [word_for(one) for one in declared.parameters if isinstance(one, Argument) and one.required]
    for one in declared.parameters:
        if one.name in ANY_TEXT or (path[0], one.name) in {("run", "name"), ("create", "name")}:
            continue
        if isinstance(one, Option) and one.takes_value:
            assert one.names[-1] in fails([*path, one.names[0], "", *needed])
        elif isinstance(one, Argument) and isinstance(one.kind, Choice):
            assert "'' is not one of" in fails([*path, ""])
        elif isinstance(one, Argument):
            assert "is empty" in fails([*path, *[""] * max(1, len(needed))])
