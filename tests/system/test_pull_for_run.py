"""`run --pull` and `load --pull`: a missing image is pulled from its registry, if the option allows it."""

from __future__ import annotations

import pytest
from support import images, programs
from support import registry as registries

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.runtime]


@pytest.fixture
def server():
    with registries.served() as found:
        yield found


def put(server, text, tag="1"):
    """Push an image to the registry that prints *text*; return its name."""
    box = programs.busybox()
    if box is None:
        pytest.skip("there is no static busybox")
    with open(box, "rb") as file:
        program = images.file("bin/busybox", file.read(), 0o755)
    layer = images.layer([images.directory("bin"), program])
    server.put_image("a/say", tag, images.image(layer, config={"Cmd": ["/bin/busybox", "echo", text]}))
    return f"{server.host}/a/say:{tag}"


def run(store, *words, **more):
    return store.run("run", "--network", "none", "--tls-verify=false", *words, **more)


def test_a_missing_image_is_pulled_once(store, server):
    name = put(server, "hello")
    assert run(store, name).out == b"hello\n"
    asked = len(server.log)
    assert run(store, name).out == b"hello\n"
    assert len(server.log) == asked


@pytest.mark.parametrize("words", [("--pull", "never"), ()])
def test_what_is_not_to_be_pulled_is_not(store, server, words):
    name = put(server, "hello") if words else "say:1"
    outcome = run(store, *words, name)
    assert outcome.status == 125
    assert f"{name}: no such image in the store" in outcome.err
    assert not server.log


def test_always_follows_the_tag(store, server):
    name = put(server, "one")
    assert run(store, name).out == b"one\n"
    put(server, "two")
    assert run(store, name).out == b"one\n"
    assert run(store, "--pull", "always", name).out == b"two\n"


def test_always_does_not_run_what_cannot_be_pulled(store, server):
    name = put(server, "one")
    run(store, name)
    del server.tags["a/say"]["1"]
    outcome = run(store, "--pull", "always", name)
    assert outcome.status == 125
    assert outcome.out == b""


def test_a_short_name_without_registries_to_search(store):
    outcome = run(store, "--pull", "missing", "say", HOME="/nonexistent", XDG_CONFIG_HOME="/nonexistent")
    assert outcome.status == 125
    assert "Traceback" not in outcome.err


def test_run_makes_the_store(tmp_path, server):
    from support.cli import Arstore

    store = Arstore(tmp_path / "root", tmp_path / "run")
    name = put(server, "hello")
    outcome = run(store, name)
    assert outcome.out == b"hello\n", outcome.err
    other = Arstore(tmp_path / "other", tmp_path / "run2")
    assert run(other, "--pull", "never", name).status == 125
    assert not (tmp_path / "other").exists()


def test_a_pipeline(store, server):
    name = put(server, "done")
    outcome = store.run("load", "--json", "--tls-verify=false", name)
    assert outcome.status == 0, outcome.err
    assert outcome.json["pipeline"]["exit_code"] == 0
    assert outcome.json["imported"] == []
