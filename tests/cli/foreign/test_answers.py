"""Commands and options of other tools are ours, or answered with ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.ourlines import SWITCH, found, lines_of, options, wrong_in

from arstore.cli.foreign import answers
from arstore.cli.foreign.commands import COMMANDS, TOO_FEW, TOO_MANY
from arstore.cli.foreign.options import OPTIONS
from arstore.cli.group import Group
from arstore.cli.main import cli

HERE = Path(__file__).resolve().parent
PEERS = {**json.loads((HERE / "peers.json").read_text()), **json.loads((HERE / "documented.json").read_text())}
"""For each tool its commands, each with its options; `peers.json` was read from the tools (tools/peer_commands.py)."""
ROWS = [(peer, path, names) for peer, found in PEERS.items() for path, names in found.items()]
EXISTING = set(cli.entries())
TEXTS = [(path, text) for path, answer in COMMANDS.items() for text in answer]
TEXTS += [item for hints in (TOO_FEW, TOO_MANY) for item in hints.items()]


def is_ours(path):
    """Whether arstore has the command *path*, or takes its last words as arguments."""
    words = path.split()
    return found(words)[1] == len(words)


@pytest.mark.parametrize("peer", PEERS)
def test_every_command_is_ours_or_answered(peer):
    missing = []
    for path in PEERS[peer]:
        words = path.split()
        if not words or is_ours(path):
            continue
        declared, count = found(words)
        if isinstance(declared, Group):
            answer = answers.to_command(words, EXISTING)
        else:
            answer = answers.to_surplus(" ".join(words[:count]), words[count])
        if answer is None:
            missing.append(path)
    assert not missing


def test_the_lists_are_whole():
    assert len(PEERS["podman"]) > 200
    assert {"copy", "inspect", "standalone-sign", "sync"} <= PEERS["skopeo"].keys()
    assert "--publish" in PEERS["podman"]["run"].split()
    assert {"rmi", "system df", "compose"} <= PEERS["docker"].keys()


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer not in {"ctr", "nerdctl", "crane"}])
def test_every_option_of_a_command_that_both_have_is_ours_or_answered(peer):
    missing = []
    for path, names in PEERS[peer].items():
        if is_ours(path):
            declared, _ = found(path.split())
            lacking = set(names.split()) - options(declared) - {"-h"}
            missing += [f"{path} {one}" for one in sorted(lacking) if answers.to_option(path, one) is None]
    assert not missing


def test_a_command_that_is_ours_has_no_entry():
    stale = [path for path in COMMANDS if is_ours(path)]
    assert stale == [], "run tools/foreign_entries.py --write"


def test_an_option_that_is_ours_has_no_entry():
    stale = []
    for commands, names, _, _ in OPTIONS:
        existing = [path for path in commands if is_ours(path)]
        known = set.intersection(*(options(found(path.split())[0]) for path in existing)) if existing else set()
        stale += [f"{', '.join(sorted(commands))}: {name}" for name in names.split() if name in known]
    assert stale == [], "run tools/foreign_entries.py --write"


def test_a_row_is_about_commands_of_ours_or_of_another_tool():
    theirs = {path for known in PEERS.values() for path in known}
    assert {path for commands, *_ in OPTIONS for path in commands if not is_ours(path)} <= theirs


def test_an_option_has_one_answer():
    seen = set()
    for commands, names, _, _ in OPTIONS:
        for path in commands:
            for name in names.split():
                assert (path, name) not in seen, f"{path} {name}"
                seen.add((path, name))


def test_every_answer_names_what_exists():
    texts = [text for _, text in TEXTS] + [text for _, _, why, hint in OPTIONS for text in (why, hint)]
    lines = [line for text in texts for line in lines_of(text)]
    assert len(lines) > 100
    assert [wrong for wrong in map(wrong_in, lines) if wrong] == []


def test_options_in_an_answer_are_options_of_its_command():
    wrong = []
    for commands, _, why, hint in OPTIONS:
        plain = re.sub("`[^`]*`|sh -c '...'", "", f"{why} {hint}")
        for path in filter(is_ours, commands):
            known = options(found(path.split())[0])
            wrong += [f"{path}: {name}" for name in SWITCH.findall(plain) if name not in known]
    assert wrong == []


def test_a_text_is_part_of_one_line():
    for path, text in TEXTS:
        assert text == " ".join(text.split()), path
        assert not text.endswith(".") or text.endswith("..."), path
        assert any(COMMANDS.get(path, (text,))), path


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("rmi x", "arstore: rmi: there is no such command; use `arstore rm IMAGE...`"),
        ("system df", "arstore: system df: there is no such command; use `arstore du`"),
        ("image pull x", "arstore: image pull: there is no such command; use `arstore pull`"),
        ("image ls -q", "arstore: image ls: there is no such command; use `arstore images`"),
        ("images pull x", "arstore: images pull: there is no such command; use `arstore pull`"),
        (
            "volume exists x y",
            "arstore: volume exists: there is no such command; use `arstore volume inspect NAME`, "
            "which ends with status 3 if there is no such volume",
        ),
        ("ps -aw", "arstore: ps -w: there is no such option; use watch(1) to repeat it"),
        (
            "images --digests",
            "arstore: images --digests: there is no such option; `arstore images --json` prints digests",
        ),
        ("container ls -a", "arstore: container ls: there is no such command; use `arstore ps`"),
        ("imagse", "arstore: no such command 'imagse'; did you mean `arstore images`?"),
        ("nonsense", "arstore: no such command 'nonsense'; see `arstore --help`"),
    ],
)
def test_an_answer_is_one_line_with_status_2(arstore, line, text):
    result = arstore(*line.split())
    assert (result.status, result.out, result.err) == (2, b"", f"{text}\n")


def test_the_page_shows_what_is_printed(arstore):
    page = (HERE.parents[2] / "docs" / "completion-and-man.md").read_text()
    shown = re.findall(r"^\$ arstore (.*)\n(arstore: .*)\n", page, re.MULTILINE)
    assert len(shown) == 3
    for line, text in shown:
        assert arstore(*line.split()).err == f"{text}\n"


def test_an_option_that_is_nearly_ours(arstore):
    assert arstore("images", "--jsn").err == "arstore: images: no such option '--jsn'; did you mean `--json`?\n"


def test_an_answer_with_json_is_one_object(arstore):
    for words, what in ((("rmi", "--json", "x"), "rmi"), (("container", "ls", "--json"), "container ls")):
        result = arstore(*words)
        assert (result.error["what"], result.error["exit_code"]) == (what, 2)
    assert arstore("nonsense", "--json").error["why"] == "no such command 'nonsense'"
    result = arstore("images", "--json", "--digests")
    assert (result.error["what"], result.error["exit_code"]) == ("images --digests", 2)


def test_load_without_a_file_names_import(arstore):
    assert "`arstore import FILE`" in arstore("load").err
    assert "--rootfs" in arstore("import", "x.tar", "name").err


def test_short_forms_of_nouns_are_answered_as_the_nouns():
    assert answers.to_command(["i", "ls"], EXISTING).hint == answers.to_command(["image", "ls"], EXISTING).hint
    assert answers.to_command(["c", "rm"], EXISTING).hint == "use `arstore container rm`"
    assert answers.to_command(["help", "run"], EXISTING).hint == "use `arstore run --help`"


def test_hints_on_arguments_are_for_commands_that_exist():
    assert {*TOO_FEW, *TOO_MANY} <= EXISTING
