"""Completion in real shells: what a user gets for a line and a TAB."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import images, stores

from arstore.cli.completion.scripts import SCRIPTS

REPOSITORY = Path(__file__).resolve().parents[3]
SECONDS = 30
MARK = "LINE<"


def needed(shell):
    """Skip the test if the shell is not installed."""
    if shutil.which(shell) is None:
        pytest.skip(f"not installed: {shell}")


@pytest.fixture
def place(tmp_path):
    """A directory with a program `arstore` in bin, a store, and files to complete."""
    root = tmp_path / "store"
    store = stores.made(root, tmp_path / "run")
    stores.bring(store, images.example(names=["app:1", "app:2.0", "example.com:5000/team/base:latest"]))
    store.close()
    program = tmp_path / "bin" / "arstore"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m arstore "$@"\n')
    program.chmod(0o755)
    for shell, script in SCRIPTS.items():
        (tmp_path / f"_arstore.{shell}").write_text(script)
    (tmp_path / "work" / "a dir").mkdir(parents=True)
    (tmp_path / "work" / "layout").mkdir()
    (tmp_path / "work" / "archive.tar").touch()
    return tmp_path


def environment(place):
    """The environment of a shell: nothing of this user's, and the store."""
    return {
        "PATH": f"{place}/bin:{os.environ['PATH']}",
        "HOME": str(place),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        "ARSTORE_ROOT": str(place / "store"),
        "ARSTORE_RUNROOT": str(place / "run"),
    }


class Terminal:
    """An interactive shell on a pseudo-terminal."""

    def __init__(self, place, words):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(place / "work")
            os.execvpe(words[0], words, environment(place))
        self.seen = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait(self, pattern):
        """Return the match of *pattern* in what is printed from now on."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            found = re.search(pattern, self.seen, re.S)
            if found:
                self.seen = self.seen[found.end() :]
                return found
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.fd, 1 << 16).decode(errors="replace").replace("\r", "")
                except OSError:
                    break
        raise AssertionError(f"the shell printed {self.seen!r}")

    def completed(self, line):
        """Return what *line* is after a TAB, with | where it ends."""
        self.type(line + "\t")
        # The widget behind ^X^T prints the line as the shell has it, when the completion is done.
        self.type("\x18\x14")
        found = self.wait(re.escape(MARK) + "(.*?)>END").group(1)
        self.type("\x18\x0b")
        return found

    def end(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


BASH = r"""
PS1=
stty kill undef
bind 'set enable-bracketed-paste off'
bind 'set bell-style none'
bind '"\C-x\C-k": kill-whole-line'
show() { printf '\nLINE<%s>END\n' "$READLINE_LINE|"; }
bind -x '"\C-x\C-t": show'
source ../_arstore.bash
echo READY
"""
ZSH = r"""
PS1= RPS1= PROMPT_SP= PROMPT_EOL_MARK=
unsetopt zle_bracketed_paste beep prompt_sp list_beep auto_list 2>/dev/null
zstyle ':completion:*' use-cache no
autoload -Uz compinit && compinit -u -D
bindkey -e
source ../_arstore.zsh
show() { print -r -- ""; print -r -- "LINE<$BUFFER|>END"; }
zle -N show
bindkey '^X^T' show
bindkey '^X^K' kill-whole-line
echo READY
"""


@pytest.fixture(params=["bash", "zsh"])
def terminal(request, place):
    """An interactive bash or zsh with the completion of arstore."""
    shell = request.param
    needed(shell)
    (place / "rc").write_text(BASH if shell == "bash" else ZSH)
    words = ["bash", "--norc", "--noprofile", "-i"] if shell == "bash" else ["zsh", "-f", "-i"]
    found = Terminal(place, words)
    found.type(". ../rc\n")
    found.wait("\nREADY")
    yield found
    found.end()


LINES = [
    ("arstore imag", "arstore images |"),
    ("arstore container r", "arstore container rm |"),
    ("arstore images --js", "arstore images --json |"),
    ("arstore run --pull al", "arstore run --pull always |"),
    ("arstore run --pull=al", "arstore run --pull=always |"),
    ("arstore mount ap", "arstore mount app:|"),
    ("arstore mount app:2", "arstore mount app:2.0 |"),
    ("arstore mount exa", "arstore mount example.com:5000/team/base:latest |"),
    ("arstore mount example.com:5000/t", "arstore mount example.com:5000/team/base:latest |"),
    ("arstore mount example.com:5000/team/base:l", "arstore mount example.com:5000/team/base:latest |"),
    ("arstore copy store:app:2", "arstore copy store:app:2.0 |"),
    ("arstore copy oci-", "arstore copy oci-archive:|"),
    ("arstore copy oci-archive:arc", "arstore copy oci-archive:archive.tar |"),
    ("arstore copy dir:lay", "arstore copy dir:layout/|"),
    ("arstore import arc", "arstore import archive.tar |"),
    ("arstore unpack app:1 lay", "arstore unpack app:1 layout/|"),
    ("arstore unpack app:1 a", "arstore unpack app:1 a\\ dir/|"),
    ("arstore --quiet rm app:1 exa", "arstore --quiet rm app:1 example.com:5000/team/base:latest |"),
    ("arstore import --limit infl", "arstore import --limit inflated=|"),
    ("arstore nonsense a", "arstore nonsense a|"),
]


def test_a_tab_completes(terminal):
    assert [(line, terminal.completed(line)) for line, _ in LINES] == LINES


def test_bash_without_colons_among_the_word_breaks(place):
    needed("bash")
    (place / "rc").write_text(BASH.replace("PS1=\n", "PS1=\nCOMP_WORDBREAKS=${COMP_WORDBREAKS//[:=]}\n"))
    terminal = Terminal(place, ["bash", "--norc", "--noprofile", "-i"])
    try:
        terminal.type(". ../rc\n")
        terminal.wait("\nREADY")
        lines = [one for one in LINES if ":" in one[0] or "=" in one[0]]
        assert [(line, terminal.completed(line)) for line, _ in lines] == lines
    finally:
        terminal.end()


def fish(place, line):
    """The words that fish offers for a line."""
    script = f"source {place}/_arstore.fish; complete -C {shlex.quote(line)}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env=environment(place),
        cwd=place / "work",
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    assert done.stderr == ""
    return [line.partition("\t")[0] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("arstore imag", ["images"]),
        ("arstore images --js", ["--json"]),
        ("arstore run --pull ", ["always", "missing", "never"]),
        ("arstore run --pull=al", ["--pull=always"]),
        ("arstore mount app:", ["app:1", "app:2.0"]),
        ("arstore mount ", ["app:1", "app:2.0", "example.com:5000/team/base:latest"]),
        ("arstore copy store:app:2", ["store:app:2.0"]),
        ("arstore copy oci-archive:arc", ["oci-archive:archive.tar"]),
        ("arstore import arc", ["archive.tar"]),
        ("arstore unpack app:1 lay", ["layout/"]),
        ("arstore nonsense a", []),
    ],
)
def test_fish(place, line, words):
    needed("fish")
    assert sorted(fish(place, line)) == words


def test_fish_shows_what_a_command_does(place):
    needed("fish")
    script = f"source {place}/_arstore.fish; complete -C 'arstore imag'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], env=environment(place), capture_output=True, check=True
    )
    assert done.stdout == b"images\tList the images\n"


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_scripts_are_right_for_their_shell(place, shell):
    needed(shell)
    subprocess.run([shell, "-n", place / f"_arstore.{shell}"], check=True)


def test_bash_completion_loads_the_script(place):
    """Installed where bash-completion looks, it is loaded at the first TAB."""
    needed("bash")
    if not os.path.exists("/usr/share/bash-completion/bash_completion"):
        pytest.skip("not installed: bash-completion")
    directory = place / ".local/share/bash-completion/completions"
    directory.mkdir(parents=True)
    (place / "_arstore.bash").rename(directory / "arstore")
    (place / "rc").write_text(BASH.replace("source ../_arstore.bash", ". /usr/share/bash-completion/bash_completion"))
    terminal = Terminal(place, ["bash", "--norc", "--noprofile", "-i"])
    try:
        terminal.type(". ../rc\n")
        terminal.wait("\nREADY")
        assert terminal.completed("arstore mount app:2") == "arstore mount app:2.0 |"
    finally:
        terminal.end()
