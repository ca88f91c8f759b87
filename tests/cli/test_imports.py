"""`import`: what it prints, what it takes, what it refuses."""

from __future__ import annotations

import os
import subprocess

import pytest
from support import images


def archive(tmp_path, *what, name="some.tar", **more):
    return images.write_oci_archive(tmp_path / name, *what, **more)


def test_a_line_an_image(arstore, tmp_path):
    one = images.image(images.layer([images.file("a")]), names=["one:1", "uno:1"])
    two = images.image(images.layer([images.file("b")]), names=["two:1"])
    result = arstore.ok("import", archive(tmp_path, one, two))
    assert sorted(result.text.splitlines()) == sorted([f"{one.digest} one:1 uno:1", f"{two.digest} two:1"])
    assert result.err.count("layer ") == 2


def test_json(arstore, tmp_path, picture):
    path = archive(tmp_path, picture)
    result = arstore.ok("import", "--json", "--progress", "none", path)
    assert result.err == ""
    [image] = result.json["images"]
    assert image["digest"] == picture.digest
    assert image["config"] == picture.config_digest
    assert image["names"] == ["example:1", "example:latest"]
    assert image["platform"] == f"linux/{images.HOST_ARCHITECTURE}"
    assert image["layers"] == [
        {
            "digest": layer.digest,
            "diff_id": layer.diff_id,
            "chain_id": chain_id,
            "size": len(layer.tar),
            "compressed_size": len(layer.blob),
            "reused": False,
        }
        for layer, chain_id in zip(picture.layers, picture.chain_ids, strict=True)
    ]
    again = arstore.ok("import", "--json", path).json
    assert [layer["reused"] for layer in again["images"][0]["layers"]] == [True] * 3


def test_progress_events_are_json_lines(arstore, tmp_path, picture):
    import json

    result = arstore.ok("import", "--progress", "json", archive(tmp_path, picture))
    events = [json.loads(line) for line in result.err.splitlines()]
    assert {event["event"] for event in events} >= {"start", "finish"}
    assert {event["layer"] for event in events} == set(picture.diff_ids)


def test_quiet_says_nothing(arstore, tmp_path, picture):
    assert arstore.ok("--quiet", "import", archive(tmp_path, picture)).err == ""


def test_a_name_of_the_users(arstore, tmp_path, picture):
    result = arstore.ok("import", "--name", "mine", archive(tmp_path, picture))
    assert result.text == f"{picture.digest} mine:latest\n"


def test_platforms(arstore, tmp_path):
    parts = [
        images.image(images.layer([images.file(name)]), architecture=name) for name in ("amd64", "arm64", "riscv64")
    ]
    whole = images.index(*parts, names=["multi:1"])
    path = archive(tmp_path, whole)
    assert arstore.ok("import", "--platform", "linux/riscv64", path).text == f"{parts[2].digest} multi:1\n"
    assert arstore("import", "--platform", "linux/s390x", path).status == 17
    document = arstore.ok("import", "--all-platforms", "--json", path).json
    assert {image["digest"] for image in document["images"]} == {part.digest for part in parts}
    [index] = document["indexes"]
    assert index["digest"] == whole.digest
    assert index["names"] == ["multi:1"]
    assert arstore.ok("import", "--all-platforms", path).text.splitlines()[0] == f"{whole.digest} multi:1"
    assert arstore("import", "--platform", "a/b/c/d", path).status == 5


@pytest.fixture
def stdin():
    """Lets descriptor 0 be another one for a while."""
    saved = os.dup(0)
    yield lambda fd: os.dup2(fd, 0)
    os.dup2(saved, 0)
    os.close(saved)


def test_a_stream(arstore, tmp_path, picture, stdin):
    path = archive(tmp_path, picture, compression="gzip")
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        stdin(cat.stdout.fileno())
        assert arstore.ok("import", "-").text.split()[0] == picture.digest


@pytest.mark.parametrize("words", [("import", "-"), ("import", "oci-archive:-:x"), ("load", "-i", "-")])
def test_a_terminal_is_no_stream(arstore, stdin, words):
    master, slave = os.openpty()
    stdin(slave)
    result = arstore(*words)
    os.close(master)
    os.close(slave)
    assert result.status == 2
    assert "is a terminal" in result.err


def test_a_form_that_cannot_be_built(arstore, tmp_path, picture, monkeypatch):
    from arstore.store.store import Store

    real = Store.__init__

    def without_erofs(self, *directories, **options):
        real(self, *directories, **options)
        self.forms.pop("erofs", None)

    monkeypatch.setattr(Store, "__init__", without_erofs)
    path = archive(tmp_path, picture)
    result = arstore("import", "--tree", "erofs", path)
    assert result.status == 2
    assert "it builds: directory" in result.err
    arstore.ok("import", "--tree", "directory", path)
    assert arstore("import", "--tree", "nonsense", path).status == 2


def test_who_may_not_build_trees_is_told(arstore, tmp_path, picture, monkeypatch):
    from arstore.store.store import Store

    monkeypatch.setattr(Store, "tree_forms", lambda self, name="auto": ())
    result = arstore.ok("import", "--progress", "none", archive(tmp_path, picture))
    assert "no trees are built" in result.err
    assert result.text.startswith(picture.digest)
    assert {layer["form"] for layer in arstore.ok("layers", "--json").json} == {""}


@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_a_refusal_prints_nothing_on_stdout(arstore, tmp_path, extra):
    (tmp_path / "text").write_text("no image")
    result = arstore("import", *extra, tmp_path / "text")
    assert (result.status, result.out) == (10, b"")
    assert arstore.ok("images", "--json").json == []
