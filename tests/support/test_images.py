"""The image builder, checked by independent tools: the standard library, GNU tar and skopeo."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile

import pytest
from support import images


def test_members_read_back():
    data = images.tar(
        [
            images.file(b"a\xff", b"1", xattrs={"user.x": b"\x00\xff"}, mtime_ns=-1),
            images.file("b", mtime_ns=1_600_000_000_000_000_001),
            images.hardlink("c", "b"),
            images.device("null", "c", 1, 3),
        ]
    )
    with tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape") as archive:
        a, b, c, null = archive.getmembers()
    assert a.name == "a\udcff"
    assert a.pax_headers["mtime"] == "-0.000000001"
    assert a.pax_headers["SCHILY.xattr.user.x"].encode("utf-8", "surrogateescape") == b"\x00\xff"
    assert b.pax_headers["mtime"] == "1600000000.000000001"
    assert (c.type, c.linkname) == (tarfile.LNKTYPE, "b")
    assert (null.devmajor, null.devminor) == (1, 3)


def test_output_is_deterministic(tmp_path):
    for name in ("one", "two"):
        images.write_oci_archive(tmp_path / name, images.example(), compression="gzip")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_digests_are_those_of_the_bytes(tmp_path):
    one = images.example()
    images.write_layout(tmp_path / "layout", one)
    blobs = list((tmp_path / "layout/blobs/sha256").iterdir())
    assert len(blobs) == 5
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name for path in blobs)


def test_replace_and_omit_lie(tmp_path):
    one = images.example()
    files = images.layout_files(one, replace={one.layers[0].digest: b"other"}, omit=[one.config_digest])
    names = {member.info.name: member.content for member in files}
    assert names["blobs/" + one.layers[0].digest.replace(":", "/")] == b"other"
    assert "blobs/" + one.config_digest.replace(":", "/") not in names


@pytest.mark.parametrize("style", ["podman", "old", "hybrid"])
def test_docker_archives_point_at_what_they_hold(tmp_path, style):
    twice = images.layer([images.file("x", b"x")])
    one = images.image(twice, images.layer([images.file("y")]), twice, names=["a:1", "b:2"])
    path = images.write_docker_archive(tmp_path / "x.tar", one, images.example(), style=style)
    with tarfile.open(path) as archive:
        entries = json.load(archive.extractfile("manifest.json"))
        assert entries[0]["RepoTags"] == ["a:1", "b:2"]
        for entry in entries:
            config = json.load(archive.extractfile(entry["Config"]))
            found = [images.sha256(archive.extractfile(name).read()) for name in entry["Layers"]]
            assert found == config["rootfs"]["diff_ids"]


@pytest.mark.tools("skopeo")
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_skopeo_reads_them(tmp_path, compression):
    one = images.example(compression=compression)
    images.write_oci_archive(tmp_path / "oci.tar", one)
    images.write_docker_archive(tmp_path / "podman.tar", one)
    images.write_docker_archive(tmp_path / "old.tar", one, style="old")
    images.write_docker_archive(tmp_path / "hybrid.tar", one, style="hybrid")
    images.write_layout(tmp_path / "layout", one)
    images.write_dir(tmp_path / "dir", one)
    docker = [f"docker-archive:{tmp_path}/{style}.tar" for style in ("podman", "old", "hybrid")]
    for reference in [f"oci-archive:{tmp_path}/oci.tar", f"oci:{tmp_path}/layout", f"dir:{tmp_path}/dir", *docker]:
        done = subprocess.run(["skopeo", "inspect", "--config", "--raw", reference], capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (0, one.config), (reference, done.stderr)


@pytest.mark.tools("skopeo")
def test_skopeo_picks_from_an_index(tmp_path):
    amd = images.image(images.layer([images.file("amd")]), architecture="amd64")
    arm = images.image(images.layer([images.file("arm")]), architecture="arm64", variant="v8")
    images.write_layout(tmp_path / "layout", images.index(amd, arm, names=["both"]))
    command = ["skopeo", "--override-arch=arm64", "inspect", "--config", "--raw", f"oci:{tmp_path}/layout"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == arm.config
