"""`import`: its output, its arguments, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support import images, oddities


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
    """Replaces descriptor 0 for a while."""
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
    assert "it has: directory" in result.err
    arstore.ok("import", "--tree", "directory", path)
    assert arstore("import", "--tree", "nonsense", path).status == 2


def test_who_may_not_build_trees_is_told(arstore, tmp_path, picture, monkeypatch):
    from arstore.store.store import Store

    monkeypatch.setattr(Store, "makes_trees", False)
    result = arstore.ok("import", "--progress", "none", archive(tmp_path, picture))
    assert "layer trees were not built: this user lacks the privileges" in result.err
    assert result.text.startswith(picture.digest)
    assert {layer["form"] for layer in arstore.ok("layers", "--json").json} == {""}


@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_a_refusal_prints_nothing_on_stdout(arstore, tmp_path, extra):
    (tmp_path / "text").write_text("no image")
    result = arstore("import", *extra, tmp_path / "text")
    assert (result.status, result.out) == (10, b"")
    assert arstore.ok("images", "--json").json == []


# --- skipped entries ------------------------------------------------------------------------------------------------


def odd(tmp_path, name):
    return images.write_archive(tmp_path / "odd.tar", oddities.ARCHIVES[name]())


@pytest.mark.parametrize("medium", ["archive", "gzip", "stream", "layout"])
def test_what_is_no_image_is_skipped_and_said(arstore, tmp_path, medium):
    one = oddities.picture()
    files = oddities.ARCHIVES["beside-named-chart"]()
    if medium == "layout":
        source = images.write_files(tmp_path / "odd", files)
    else:
        source = images.write_archive(tmp_path / "odd.tar", files, "gzip" if medium == "gzip" else "none")
    if medium == "stream":
        where = ["--root", tmp_path / "s", "--runroot", tmp_path / "r"]
        program = [sys.executable, "-m", "arstore", *where, "import", "-"]
        with subprocess.Popen(["cat", source], stdout=subprocess.PIPE) as cat:
            done = subprocess.run(program, stdin=cat.stdout, capture_output=True, text=True, check=True)
        assert (done.stdout, "skipped site/thing:1 (sha256:" in done.stderr) == (f"{one.digest} app:v1\n", True)
        return
    result = arstore.ok("import", "--progress", "none", source)
    assert result.text == f"{one.digest} app:v1\n"
    assert result.err.startswith("arstore: skipped site/thing:1 (sha256:")
    assert result.err.endswith(f"not an image, but {oddities.HELM_CONFIG}\n")
    assert [image["names"] for image in arstore.ok("images", "--json").json] == [["app:v1"]]
    document = arstore.ok("import", "--json", source).json
    (entry,) = document["skipped"]
    assert (document["skipped_count"], entry["name"], entry["media_type"]) == (1, "site/thing:1", images.OCI_MANIFEST)
    assert entry["why"] == f"not an image, but {oddities.HELM_CONFIG}"
    assert arstore.ok("--quiet", "import", source).err == ""


def test_a_dir_of_a_chart(arstore, tmp_path):
    _, blobs = oddities.chart()
    files = [images.file("version", b"Directory Transport Version: 1.1\n"), images.file("manifest.json", blobs[0])]
    result = arstore("import", images.write_files(tmp_path / "x", files))
    assert result.status == 15
    assert "contains no container image" in result.err


def test_nothing_but_other_things(arstore, tmp_path):
    result = arstore("import", odd(tmp_path, "alone-chart"))
    assert (result.status, result.out, result.err.count("\n")) == (15, b"", 1)
    assert f"is not an image, but {oddities.HELM_CONFIG}" in result.err
    assert arstore.ok("images", "--json").json == []


def test_all_platforms_of_one_name(arstore, tmp_path):
    """The name belongs to an index, which finds the host's image, is in the layout, and survives gc."""
    path = odd(tmp_path, "name-two-platforms-reversed")
    document = arstore.ok("import", "--all-platforms", "--json", path).json
    (index,) = document["indexes"]
    assert index["names"] == ["app:v1"]
    assert arstore.ok("import", "--all-platforms", path).text.splitlines()[0] == f"{index['digest']} app:v1"
    assert arstore.ok("inspect", "app:v1").json["digest"] in {oddities.picture().digest, index["digest"]}
    arstore.ok("gc")
    assert {image["digest"] for image in arstore.ok("images", "--json").json} >= set(index["manifests"])
    arstore.ok("check")
    listed = json.loads((arstore.root / "index.json").read_bytes())["manifests"]
    assert next(one for one in listed if one["digest"] == index["digest"])["annotations"] == {images.REF_NAME: "app:v1"}


def test_a_name_of_the_users_for_all_platforms(arstore, tmp_path):
    result = arstore.ok("import", "--all-platforms", "--name", "mine", odd(tmp_path, "name-two-platforms"))
    assert result.text.splitlines()[0].endswith(" mine:latest")
    assert arstore("import", "--name", "mine", odd(tmp_path, "unnamed-platforms")).status == 2
    words = ("--name", "mine:2", "--platform", f"linux/{oddities.OTHER}")
    assert arstore.ok("import", *words, odd(tmp_path, "unnamed-platforms")).text.endswith(" mine:2\n")


def test_a_name_of_two_images_of_one_platform(arstore, tmp_path):
    path = odd(tmp_path, "name-one-platform-twice")
    result = arstore("import", path)
    assert (result.status, result.out) == (4, b"")
    assert "import one of them as TRANSPORT:PATH@DIGEST" in result.err
    one = oddities.picture(text="2")
    assert arstore.ok("import", f"oci-archive:{path}@{one.digest}").text == f"{one.digest} app:v1\n"


@pytest.mark.parametrize("name", ["inlined-all", "inlined-index", "untyped-parts", "layout-contradicts"])
def test_odd_archives_come_in_whole(arstore, tmp_path, name):
    arstore.ok("import", odd(tmp_path, name))
    (image,) = arstore.ok("images", "--json").json
    arstore.ok("check")
    arstore.ok("unpack", image["names"][0], tmp_path / "tree")
    assert os.listdir(tmp_path / "tree") == [images.HOST_ARCHITECTURE]


@pytest.mark.parametrize("name", ["config-empty-rootfs-no-layers", "config-env-odd", "config-config-list"])
def test_an_odd_config_is_kept_byte_for_byte(arstore, tmp_path, name):
    arstore.ok("import", odd(tmp_path, name))
    (config,) = [one.content for one in oddities.ARCHIVES[name]() if one.content.startswith(b'{"created"')]
    assert arstore.ok("inspect", "--config", "app:v1").out == config
    arstore.ok("history", "app:v1")
    arstore.ok("check")
    left = arstore.ok("inspect", "app:v1").json["left_out"]
    assert left == {
        "config-env-odd": ["config.Env[3] has no variable name"],
        "config-config-list": ["config is not an object"],
    }.get(name, [])
