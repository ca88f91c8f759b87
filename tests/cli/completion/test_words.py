"""Completion of command lines, without a shell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import images, stores

from arstore.cli.completion import values
from arstore.cli.completion.words import complete
from arstore.cli.group import Group
from arstore.cli.main import cli
from arstore.cli.parameter import Option
from arstore.graph.records import SUBJECT

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def root(tmp_path):
    """The root of a store with two names and an image without a name."""
    store = stores.made(tmp_path / "store", tmp_path / "run")
    stores.bring(store, images.example(names=["app:1", "other:2"]))
    stores.bring(store, stores.simple("x", names=("nameless:1",)))
    store.untag("nameless:1")
    store.close()
    return tmp_path / "store"


def texts(line, root="/nonexistent", **environ):
    """The words that complete the last of *line*, a list."""
    found = complete(cli, line, {"ARSTORE_ROOT": str(root), "ARSTORE_ADDITIONAL_STORES": "", **environ})
    return [one.text for one in found.candidates]


def paths(line):
    found = complete(cli, line, {"ARSTORE_ROOT": "/nonexistent"})
    return found.paths, found.prefix, found.path


def below(group, path=()):
    for name in group.entries():
        found = group.find(name)
        yield (*path, name), found
        if isinstance(found, Group):
            yield from below(found, (*path, name))


@pytest.mark.parametrize(
    ("path", "declared"), list(below(cli)), ids=lambda one: " ".join(one) if isinstance(one, tuple) else ""
)
def test_every_command_and_option_is_completed(path, declared):
    assert path[-1] in texts([*path[:-1], path[-1][:1]])
    names = {one.names[-1] for one in declared.parameters if isinstance(one, Option)}
    assert names | {"--help"} <= set(texts([*path, "--"]))
    for one in declared.parameters:
        if isinstance(one, Option) and hasattr(one.kind, "choices"):
            assert texts([*path, one.names[-1], ""]) == list(one.kind.choices)
            assert texts([*path, f"{one.names[-1]}="]) == [f"{one.names[-1]}={word}" for word in one.kind.choices]


def test_images(root):
    digests = texts(["mount", "sha256:"], root)
    assert len(digests) == 2
    names = texts(["mount", ""], root)
    assert names[:2] == ["app:1", "other:2"]
    assert len(names) == 3
    assert names[2] in digests
    assert texts(["mount", "app:"], root) == ["app:1"]
    assert texts(["mount", digests[0][7:12]], root) == [digests[0][7:]]
    assert texts(["rm", "app:1", "oth"], root) == ["other:2"]
    assert texts(["copy", "store:a"], root) == ["store:app:1"]
    assert texts(["--root", str(root), "tag", "app:1", "o"]) == ["other:2"]
    assert texts([f"--root={root}", "run", "-it", "--pull", "never", "a"]) == ["app:1"]


def test_images_of_additional_stores(root, tmp_path, monkeypatch):
    stores.made(tmp_path / "empty", tmp_path / "run2").close()
    with monkeypatch.context() as patch:
        patch.setenv("ARSTORE_ADDITIONAL_STORES", str(root))
        assert texts(["mount", "a"], tmp_path / "empty") == ["app:1"]
    assert texts(["--additional-store", str(root), "mount", "a"], tmp_path / "empty") == ["app:1"]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Write a configuration file; ARSTORE_CONFIG names it."""

    def write(text, path=tmp_path / "config.toml"):
        path.write_text(text)
        path.chmod(0o644)
        monkeypatch.setenv("ARSTORE_CONFIG", str(path))
        return path

    return write


def test_images_of_the_configured_stores(root, tmp_path, config, monkeypatch):
    monkeypatch.delenv("ARSTORE_ROOT", raising=False)
    monkeypatch.delenv("ARSTORE_ADDITIONAL_STORES", raising=False)
    path = config(f'root = "{root}"\n')
    assert texts(["mount", "app"], "") == ["app:1"]
    assert texts(["mount", "app"], "/nonexistent") == []
    assert texts(["--root", "/nonexistent", "mount", "app"], "") == []
    config("")
    assert texts(["mount", "app"], tmp_path / "none") == []
    config(f'[[additional-store]]\npath = "{root}"\n')
    assert texts(["mount", "app"], tmp_path / "none") == ["app:1"]
    assert texts(["--config", "/dev/null", "mount", "app"], tmp_path / "none") == []
    monkeypatch.setenv("ARSTORE_CONFIG", "/dev/null")
    assert texts(["--config", str(path), "mount", "app"], tmp_path / "none") == ["app:1"]


def test_attachments_are_left_out(root):
    document = json.loads((root / "index.json").read_text())
    document["manifests"][0]["annotations"][SUBJECT] = "sha256:0"
    (root / "index.json").write_text(json.dumps(document))
    assert texts(["mount", "app"], root) == []
    assert values._SUBJECT == SUBJECT


def test_containers_and_mounts(root):
    (root / "containers" / "web").mkdir(parents=True)
    (root / "mounts").mkdir(exist_ok=True)
    (root / "mounts" / "x.json").write_text(json.dumps({"target": "/proc"}))
    (root / "mounts" / "y.json").write_text(json.dumps({"target": "/nonexistent"}))
    (root / "mounts" / "z.json").write_text("")
    assert texts(["logs", "w"], root) == ["web"]
    assert texts(["container", "rm", "-f", ""], root) == ["web"]
    assert texts(["umount", ""], root) == ["/proc", "web"]
    assert texts(["mount", "w"], root) == ["web"]


def test_registries(tmp_path):
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {"registry.example.com": {}, "other:5000": {}}}))
    known = {"REGISTRY_AUTH_FILE": str(tmp_path / "auth.json")}
    assert texts(["login", "r"], **known) == ["registry.example.com"]
    assert texts(["logout", ""], **known) == ["other:5000", "registry.example.com"]
    assert texts(["list-tags", "o"], **known) == ["other:5000"]
    assert texts(["pull", "x", "--authfile", str(tmp_path / "auth.json")]) == []


def test_options_that_were_given_are_not_offered_again():
    assert "--json" not in texts(["images", "--json", "-"])
    assert "--env" in texts(["run", "-e", "A=b", "-"])
    assert "--volume" in texts(["run", "-v/a:/b", "-"])
    assert texts(["run", "box:1", "-"]) == []
    assert texts(["rm", "--", "-"]) == []


def test_paths():
    assert paths(["import", "x"]) == (values.FILES, "", "x")
    assert paths(["save", "-o", "x"]) == (values.FILES, "", "x")
    assert paths(["unpack", "app", "x"]) == (values.DIRECTORIES, "", "x")
    assert paths(["copy", "oci:x"]) == (values.FILES, "oci:", "x")
    assert paths(["--root", "x"]) == (values.DIRECTORIES, "", "x")
    assert paths(["--root=x"]) == (values.DIRECTORIES, "--root=", "x")
    assert paths(["--config", "x"]) == (values.FILES, "", "x")
    assert paths(["--config=x"]) == (values.FILES, "--config=", "x")
    assert paths(["run", "-v", "/x"]) == (values.FILES, "", "/x")
    assert paths(["run", "-v", "/x:"]) == ("", "", "")
    assert paths(["push", "a", "b", "--encryption-key", "jwe:x"]) == (values.FILES, "jwe:", "x")


@pytest.mark.parametrize(
    "line", [["nonsense", ""], ["images", ""], ["images", "--nonsense="], ["run", "x", "a"], ["gc", "x"]]
)
def test_nothing_completes_these(line):
    assert texts(line) == []


def test_an_empty_line_has_the_commands():
    assert texts([]) == texts([""]) == list(cli.entries())


def test_names_of_settings():
    assert texts(["import", "--limit", "infl"]) == ["inflated="]
    assert texts(["load", "--timeout-part", ""]) == ["import=", "run=", "leavings="]
    assert texts(["kill", "--signal", "K"]) == ["KILL"]
    assert "linux/arm64" in texts(["pull", "--platform", ""])


def test_quotes_of_a_shell(root):
    assert texts(["mount", '"app'], root) == ["app:1"]
    assert texts(["mount", "app\\:"], root) == ["app:1"]


PROBE = """
import json, os, sys
from arstore.cli import main
def end(status):
    print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
    os._exit(status)
main._end = end
main.main()
"""


def asked(root, *words, **variables):
    """The output of the program asked for completions, its status, and the modules that it loaded."""
    environment = {"PYTHONPATH": str(REPOSITORY), "ARSTORE_ROOT": str(root), "_ARSTORE_COMPLETE": "bash", "HOME": "/"}
    environment |= variables
    done = subprocess.run([sys.executable, "-c", PROBE, *words], env=environment, capture_output=True, check=True)
    status, modules = json.loads(done.stderr)
    return done.stdout.decode(), status, modules


def test_names_are_read_without_the_graph(root):
    out, status, modules = asked(root, "mount", "app")
    assert (out, status) == ("word\tapp:1\t\n", 0)
    assert not {"lmdb", "click", "arstore.store.store", "arstore.graph.graph"} & set(modules)
    assert len([one for one in modules if one.startswith("arstore")]) <= 40


def test_no_store_is_made_or_changed(root, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    asked(root, "mount", "")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    assert asked(tmp_path / "none", "mount", "")[:2] == ("", 0)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"manifests": [{}]}', b'{"manifests": 1}', b"\xff"])
def test_errors_are_silent(root, content):
    (root / "index.json").write_bytes(content)
    assert asked(root, "mount", "")[:2] == ("", 0)


def test_a_wrong_configuration_file_is_silent(root, config):
    path = str(config("rot = 1"))
    assert asked(root, "mou", ARSTORE_CONFIG=path)[:2] == (
        "word\tmount\tMount an image read-only, or a container's writable root\nword\tmounts\tList the mounts\n",
        0,
    )
    assert asked("", "mount", "", ARSTORE_CONFIG=path)[:2] == ("", 0)


def test_the_parsed_form_of_a_configuration_file_is_not_written(root, config, tmp_path):
    (tmp_path / "runtime").mkdir()
    path = str(config(f'root = "{root}"\n'))
    found = asked("", "mount", "app", ARSTORE_CONFIG=path, XDG_RUNTIME_DIR=str(tmp_path / "runtime"))
    assert found[:2] == ("word\tapp:1\t\n", 0)
    assert "arstore.mounts.leftovers" not in found[2]
    assert list((tmp_path / "runtime").iterdir()) == []


def test_a_name_with_a_tab_is_left_out(root):
    (root / "containers" / "a\tb").mkdir(parents=True)
    (root / "containers" / "c").mkdir()
    assert asked(root, "logs", "")[0] == "word\tc\tcontainer\n"
