"""`import --rootfs` and `index`: arguments, output, and what is refused."""

from __future__ import annotations

import json

import pytest
from support import images


@pytest.fixture
def root_tar(tmp_path):
    path = tmp_path / "root.tar"
    path.write_bytes(images.tar([images.directory("etc"), images.file("etc/hi", b"hello")]))
    return path


def brought(arstore, tar, name, *words):
    return arstore.ok("-q", "import", "--rootfs", tar, name, *words)


def test_an_image_of_a_root_tar(arstore, root_tar):
    done = arstore.ok(
        "-q", "import", "--rootfs", root_tar, "base:1", "-c", 'CMD ["/bin/sh"]', "-c", "USER 5", "-m", "note",
        "--timestamp", "0", "--platform", "linux/arm64", "--json",
    )  # fmt: skip
    (image,) = done.json["images"]
    assert (image["names"], image["platform"]) == (["base:1"], "linux/arm64")
    config = json.loads(arstore.ok("inspect", "base:1", "--config").out)
    assert config["config"] == {"Cmd": ["/bin/sh"], "User": "5"}
    assert config["created"] == "1970-01-01T00:00:00Z"
    assert config["history"][0]["comment"] == "note"


def test_the_time_may_be_that_of_the_environment(arstore, root_tar, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    first, second = (brought(arstore, root_tar, name).text.split()[0] for name in ("a:1", "b:1"))
    assert first == second
    assert brought(arstore, root_tar, "c:1", "--timestamp", "8").text.split()[0] != first


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("--rootfs", "{tar}"), "Usage"),
        (("--rootfs", "{tar}", "a:1", "--name", "b:1"), "Usage"),
        (("--rootfs", "{tar}", "a:1", "--all-platforms"), "Usage"),
        (("--rootfs", "{tar}", "a:1", "--change", "RUN x"), "Usage"),
        (("--rootfs", "{tar}", "a:1", "--tree", "erofs", "--limit", "headers=1"), "Limit"),
        (("--rootfs", "oci:{tar}", "a:1"), "Usage"),
        (("--rootfs", "{tar}", "A"), "InvalidReference"),
        (("--rootfs", "{tar}", "a:1", "--platform", "x/y/z/q"), "InvalidReference"),
        (("--rootfs", "{tar}", "a:1", "--timestamp", "999999999999999"), "Usage"),
        (("{tar}", "a:1"), "Usage"),
        (("{tar}", "--message", "x"), "Usage"),
        (("{tar}", "--timestamp", "0"), "Usage"),
    ],
)
def test_wrong_words(arstore, root_tar, words, kind):
    result = arstore("--quiet", "import", "--json", *(word.format(tar=root_tar) for word in words))
    assert result.error["kind"] == kind
    assert arstore.ok("images", "--json").json == []


def test_an_index_is_made_changed_and_listed(arstore, root_tar):
    for platform in ("amd64", "arm64", "riscv64"):
        brought(arstore, root_tar, f"{platform}:1", "--platform", f"linux/{platform}")
    made = arstore.ok("index", "create", "app:1", "amd64:1", "arm64:1").text.split()
    assert made[1] == "app:1"
    added = arstore.ok("index", "add", "app:1", "riscv64:1", "--json").json
    assert [one["platform"] for one in added["manifests"]] == ["linux/amd64", "linux/arm64", "linux/riscv64"]
    assert arstore.ok("index", "rm", "app:1", "riscv64:1").text.split() == made
    assert arstore("index", "add", "app:1", "amd64:1").text.split() == made
    brought(arstore, root_tar, "again:1", "--message", "another", "--platform", "linux/amd64")
    result = arstore("index", "add", "--json", "app:1", "again:1")
    assert result.error["kind"] == "Conflict"
    assert arstore("index", "push", "amd64:1", "--json").error["kind"] == "Usage"
    assert arstore.ok("check").status == 0


def test_an_index_goes_to_a_layout_whole(arstore, root_tar, tmp_path):
    for platform in ("amd64", "arm64"):
        brought(arstore, root_tar, f"{platform}:1", "--platform", f"linux/{platform}")
    digest = arstore.ok("index", "create", "app:1", "amd64:1", "arm64:1").text.split()[0]
    done = arstore.ok("-q", "index", "push", "app:1", f"oci:{tmp_path / 'out'}")
    assert done.text == f"{digest} app:1\n"
    (entry,) = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
    assert entry["digest"] == digest
