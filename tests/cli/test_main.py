"""The program as a whole: its table of commands, its help, its environment, its streams."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support import stores

from arstore import __version__, errors
from arstore.cli.command import Command, shared_statuses
from arstore.cli.group import COMMANDS, Group
from arstore.cli.line import parse
from arstore.cli.main import PROGRAM, cli

REPOSITORY = Path(__file__).resolve().parents[2]


def entries(group=cli, path=()):
    """Every command with its place in a table: `(path, entry, command)`."""
    for name, entry in group.entries().items():
        command = group.find(name)
        yield (*path, name), entry, command
        if isinstance(command, Group):
            yield from entries(command, (*path, name))


ENTRIES = list(entries())
LEAVES = [one for one in ENTRIES if not isinstance(one[2], Group)]
IDS = [" ".join(path) for path, _, _ in LEAVES]


def program(*words, script="", **options):
    """Run the program in a separate process."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **options.pop("env", {})}
    line = [sys.executable, "-m", "arstore", *map(os.fspath, words)]
    if script:
        line = ["sh", "-c", script, "sh", *line]
    return subprocess.run(line, capture_output=True, check=False, env=environment, timeout=60, **options)


@pytest.mark.parametrize(("path", "entry", "command"), ENTRIES, ids=[" ".join(one[0]) for one in ENTRIES])
def test_the_table_says_what_the_command_says(path, entry, command):
    assert command.name == path[-1]
    assert (command.help or "").strip().splitlines()[0] == entry.short


@pytest.mark.parametrize(("path", "entry", "command"), LEAVES, ids=IDS)
def test_help_ends_with_exit_statuses_that_are_unique(arstore, path, entry, command):
    text = arstore.ok(*path, "--help").text
    assert "Exit statuses:" in text
    statuses = [status for status, _ in command.statuses()]
    assert len(set(statuses)) == len(statuses)
    last = text[text.index("Exit statuses:") :]
    for status, meaning in command.statuses():
        assert meaning
        is_shared = not command.any_status and status in dict(shared_statuses())
        assert (f"\n  {status} " in last) is not is_shared
    assert "*" not in last


def test_the_programs_help_has_the_statuses_that_all_commands_share(arstore):
    text = arstore.ok("--help").text
    last = text[text.index("Exit statuses shared by all commands") :]
    found = [int(line.split()[0]) for line in last.splitlines() if re.match("  [0-9]", line)]
    assert found == [status for status, _ in shared_statuses()]
    assert {0, 2, errors.NoStoreError.exit_code, errors.READER_GONE} <= set(found)
    for _, _, command in LEAVES:
        assert command.any_status or set(found) <= {status for status, _ in command.statuses()}


def examples(command):
    """The paragraphs after "Example:" in a command's help, which are command lines."""
    _, _, after = inspect.cleandoc(command.help).partition("Example")
    return [line for line in after.splitlines()[1:] if line]


@pytest.mark.parametrize(("path", "entry", "command"), LEAVES, ids=IDS)
def test_help_has_an_example_that_can_be_pasted(path, entry, command):
    lines = examples(command)
    assert lines
    parsed = []
    for line in lines:
        # click breaks longer lines on a terminal of 80 columns.
        assert len(line) <= 76
        for part in line.partition(" < ")[0].split(" | "):
            program, *words = shlex.split(part)
            if program == PROGRAM:
                read = parse(cli, words, {})
                assert read is not None, line
                parsed.append(read.steps[-1].declared)
    assert command in parsed


def test_every_exit_status_is_in_some_help():
    found = {status for _, _, command in LEAVES for status, _ in command.statuses()}
    assert {cls.exit_code for cls in errors.error_classes()} <= found
    assert {errors.RUN_FAILED, errors.RUN_CANNOT_INVOKE, errors.RUN_NOT_FOUND} <= found


def test_every_command_is_one_of_ours_and_speaks_json():
    for path, _, command in LEAVES:
        assert isinstance(command, Command), path
        assert command.has_option("--json"), path


def test_the_groups_help_imports_no_command(arstore):
    code = "import sys; from arstore.cli.main import run; from arstore.cli.session import Session\n"
    code += "run(Session(), ['--help'])\n"
    code += "print([m for m in sys.modules if m.startswith(('arstore.cli.', 'arstore.store'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    *text, modules = done.stdout.splitlines()
    for section in COMMANDS.values():
        for name, entry in section.items():
            assert any(line.split(None, 1) == [name, entry.short] for line in text), name
    assert "arstore.cli.images.images" not in modules
    assert "arstore.store" not in modules


def test_listing_images_imports_nothing_heavy(arstore, store_root, runroot):
    code = "import sys; from arstore.cli.main import run; from arstore.cli.session import Session\n"
    code += "run(Session(), sys.argv[1:]); print(*sys.modules, sep='\\n')"
    line = [sys.executable, "-c", code, "--root", str(store_root), "--runroot", str(runroot), "images", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    loaded = set(done.stdout.splitlines())
    assert "arstore.cli.images.images" in loaded
    heavy = {"rich", "subprocess", "cryptography", "tempfile", "logging", "socket", "lzma", "bz2", "backports.zstd"}
    assert not heavy & loaded


def test_version(arstore):
    assert arstore.ok("--version").text == f"arstore {__version__}\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "missing command"),
        (("nonsense",), "no such command 'nonsense'"),
        (("images", "--nonsense"), "images: no such option"),
        (("images", "surplus"), "images: got unexpected extra argument (surplus)"),
        (("inspect",), "inspect: missing argument 'IMAGE'"),
        (("container",), "container: missing command"),
        (("container", "rm"), "container rm: missing argument"),
        (("--log-level", "loud", "images"), "invalid value for '--log-level'"),
        (("import", "--platform", "linux/amd64", "--all-platforms", "x"), "exclude each other"),
        (("umount",), "umount: give either"),
        (("umount", "--all", "x"), "umount: give either"),
        (("mount", "--name", "x", "y"), "mount: --name needs --rw"),
        (("logs", "--json", "--follow", "x"), "exclude each other"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arstore, words, line):
    result = arstore(*words)
    assert result.status == 2
    assert result.out == b""
    text = result.error["why"] if "--json" in words else result.err
    assert line in text
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("words", [("images", "--json", "--nonsense"), ("images", "--nonsense", "--json")])
def test_wrong_usage_with_json(arstore, words):
    result = arstore(*words)
    assert result.status == 2
    assert result.error["kind"] == "Usage"
    assert result.error["what"] == "images"
    assert result.error["exit_code"] == 2


def test_environment_names_the_directories(tmp_path):
    root, runroot = tmp_path / "a", tmp_path / "b"
    stores.made(root, runroot).close()
    done = program("images", "--json", env={"ARSTORE_ROOT": str(root), "ARSTORE_RUNROOT": str(runroot)})
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"[]\n"


def test_options_win_over_the_environment(tmp_path):
    env = {"ARSTORE_ROOT": str(tmp_path / "a"), "ARSTORE_RUNROOT": str(tmp_path / "b")}
    stores.made(tmp_path / "c", tmp_path / "b").close()
    done = program("--root", tmp_path / "c", "images", env=env)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "a").exists()


def test_a_reader_that_goes_ends_it_without_a_word(tmp_path):
    script = '"$@" --help | head -c 1'
    done = program("run", script=script, env={"ARSTORE_ROOT": str(tmp_path)})
    assert done.stderr == b""
    stores.made(tmp_path / "a", tmp_path / "b").close()
    script = 'exec 3>&1; { "$@" >&4; echo status $? >&3; } 4>&1 | :'
    done = program("--root", tmp_path / "a", "--runroot", tmp_path / "b", "images", "--json", script=script)
    assert done.stdout == b"status 141\n"
    assert done.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_stdout_is_an_error(tmp_path):
    stores.made(tmp_path / "a", tmp_path / "b").close()
    done = program("--root", tmp_path / "a", "--runroot", tmp_path / "b", "images", script='"$@" > /dev/full')
    assert done.returncode == errors.HostError.exit_code
    assert done.stderr == b"arstore: standard output: no space left on device\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(tmp_path, closed):
    words = ("--root", tmp_path / "a", "--runroot", tmp_path / "b", "images")
    stores.made(tmp_path / "a", tmp_path / "b").close()
    assert program(*words, script=f'"$@" {closed}').returncode == (40 if ">&-" in closed.split() else 0)
    done = program(*words, "--json")
    assert (done.returncode, done.stdout) == (0, b"[]\n")


def test_names_that_are_no_text_do_not_stop_it_in_any_locale(tmp_path):
    name = os.fsencode(tmp_path) + b"/latin-\xe9\n\x1b[31m\xe6\xb5\x81"
    for env in ({"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {"LC_ALL": "C.UTF-8"}):
        done = program("--root", tmp_path / "a", "--runroot", tmp_path / "b", "import", os.fsdecode(name), env=env)
        assert done.returncode == errors.NotFoundError.exit_code
        assert done.stderr.count(b"\n") == 1
        assert b"\x1b" not in done.stderr
        assert b"latin-\\xe9\\n\\x1b[31m" in done.stderr


def test_an_interrupt_is_130(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    line = [sys.executable, "-m", "arstore", "--root", tmp_path / "a", "--runroot", tmp_path / "b", "import"]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.Popen([*line, tmp_path / "fifo"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    with open(tmp_path / "fifo", "wb"):  # opens once the command reads
        done.send_signal(2)
        out, err = done.communicate(timeout=30)
    assert done.returncode == 130
    assert (out, err) == (b"", b"arstore: interrupted\n")
    assert os.listdir(tmp_path / "a/ingest") == []
