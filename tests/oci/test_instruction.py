"""Instructions: the Dockerfile's forms, and configs that keep all other fields."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import UsageError
from arstore.oci.config import ImageConfig
from arstore.oci.instruction import Instruction, changed

BASE = {
    "architecture": "amd64",
    "os": "linux",
    "config": {
        "Env": ["PATH=/bin", "A=old"],
        "Cmd": ["old"],
        "Entrypoint": ["/entry"],
        "WorkingDir": "/work",
        "Labels": {"kept": "1"},
        "Volumes": {"/kept": {}},
        "Unknown": [1],
    },
    "rootfs": {"type": "layers", "diff_ids": []},
    "more": {"x": 1},
}


def after(*lines, base=BASE):
    raw = changed(json.dumps(base).encode(), [Instruction.parse(line) for line in lines])
    ImageConfig.parse(raw)
    return json.loads(raw)


def process(*lines, base=BASE):
    return after(*lines, base=base)["config"]


def test_nothing_changes_nothing():
    assert after() == BASE


def test_all_else_is_kept():
    found = after("USER nobody")
    assert found == {**BASE, "config": {**BASE["config"], "User": "nobody"}}


@pytest.mark.parametrize("config", [None, {}])
def test_a_config_without_a_process(config):
    base = {**BASE, "config": config}
    assert process("ENV A=1", "LABEL b=2", "EXPOSE 80", "VOLUME /v", "WORKDIR w", base=base) == {
        "Env": ["A=1"],
        "Labels": {"b": "2"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
        "WorkingDir": "/w",
    }


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('CMD ["/bin/sh", "-c", "a b"]', ["/bin/sh", "-c", "a b"]),
        ("CMD []", []),
        ("CMD echo $HOME 'x y'", ["/bin/sh", "-c", "echo $HOME 'x y'"]),
        ("cmd\techo", ["/bin/sh", "-c", "echo"]),
        ("CMD=/bin/bash", ["/bin/sh", "-c", "/bin/bash"]),
        ('CMD ["unfinished"', ["/bin/sh", "-c", '["unfinished"']),
        ("CMD [1]", ["/bin/sh", "-c", "[1]"]),
    ],
)
def test_commands(line, words):
    assert process(line)["Cmd"] == words
    assert process(line)["Entrypoint"] == ["/entry"]


def test_the_images_own_shell():
    base = {**BASE, "config": {"Shell": ["/bin/bash", "-lc"]}}
    assert process("CMD x", base=base)["Cmd"] == ["/bin/bash", "-lc", "x"]


def test_an_entrypoint_empties_the_command_of_the_image():
    assert "Cmd" not in process('ENTRYPOINT ["/new"]')
    for lines in (("CMD x", 'ENTRYPOINT ["/new"]'), ('ENTRYPOINT ["/new"]', "CMD x")):
        found = process(*lines)
        assert (found["Entrypoint"], found["Cmd"]) == (["/new"], ["/bin/sh", "-c", "x"])


@pytest.mark.parametrize(
    ("line", "variables"),
    [
        ("ENV B=2", ["PATH=/bin", "A=old", "B=2"]),
        ("ENV A=new B=2", ["PATH=/bin", "A=new", "B=2"]),
        ("ENV A='x y' B=\"z \"", ["PATH=/bin", "A=x y", "B=z "]),
        ("ENV A=x\\ y", ["PATH=/bin", "A=x y"]),
        ("ENV A=", ["PATH=/bin", "A="]),
        ("ENV A=b=c", ["PATH=/bin", "A=b=c"]),
        ("ENV A the whole 'rest'", ["PATH=/bin", "A=the whole 'rest'"]),
        ("ENV PATH=/x:$PATH", ["PATH=/x:$PATH", "A=old"]),
    ],
)
def test_variables(line, variables):
    assert process(line)["Env"] == variables


def test_labels():
    assert process('LABEL a=1 "b c"="d e"', "LABEL kept 2")["Labels"] == {"a": "1", "b c": "d e", "kept": "2"}


def test_ports():
    assert list(process("EXPOSE 80 53/udp 9000-9002/SCTP")["ExposedPorts"]) == sorted(
        ["80/tcp", "53/udp", "9000/sctp", "9001/sctp", "9002/sctp"]
    )


@pytest.mark.parametrize(
    ("line", "added"), [('VOLUME ["/a b", "/c"]', ["/a b", "/c"]), ("VOLUME /a '/b c'", ["/a", "/b c"])]
)
def test_volumes(line, added):
    assert list(process(line)["Volumes"]) == sorted(["/kept", *added])


@pytest.mark.parametrize(
    ("line", "path"),
    [("WORKDIR /x", "/x"), ("WORKDIR sub", "/work/sub"), ("WORKDIR ../../..", "/"), ("WORKDIR //x/./y/", "/x/y")],
)
def test_working_directories(line, path):
    assert process(line)["WorkingDir"] == path


@pytest.mark.parametrize("signal", ["SIGTERM", "term", "9", "RTMIN+3", "SIGRTMAX-1"])
def test_stop_signals(signal):
    assert process(f"STOPSIGNAL {signal}")["StopSignal"] == signal


@pytest.mark.parametrize(
    "line",
    [
        "", "CMD", "CMD ", "CMD=", "RUN rm -rf /", "ONBUILD CMD x", "FROM x", "=x", "CMD\0x", "CMD x\0",
        'CMD ["\\u0000"]', "ENV A", "ENV =x", "ENV A=1 B",
        "LABEL ''=x", "ENV A='x", "EXPOSE http", "EXPOSE 0", "EXPOSE 65536", "EXPOSE 9-3", "EXPOSE 80/icmp", "VOLUME x",
        "VOLUME /", 'VOLUME [""]', "VOLUME '", "STOPSIGNAL a b", "STOPSIGNAL -9",
    ],
)  # fmt: skip
def test_what_is_refused(line):
    with pytest.raises(UsageError):
        Instruction.parse(line)


KEYWORDS = ["CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"]


@given(st.sampled_from(KEYWORDS), st.text())
def test_whatever_is_taken_gives_a_config_that_is_read_again(keyword, text):
    try:
        instruction = Instruction.parse(f"{keyword} {text}")
    except UsageError:
        return
    ImageConfig.parse(changed(json.dumps(BASE).encode(), [instruction]))
