"""The pipeline image really builds: its script runs in a chroot here, and other tools read the resulting images."""

from __future__ import annotations

import gzip
import json
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support import images, peers

TOOL = Path(__file__).resolve().parents[2] / "tools" / "pipeline_image.py"
CHROOT = "import os, sys; os.chroot(sys.argv[1]); os.chdir('/'); os.execv(sys.argv[2], sys.argv[2:])"


def make(path, *options):
    """Make a pipeline image; return its index, its config and its layer's uncompressed tar."""
    subprocess.run([sys.executable, TOOL, path, *options], check=True)
    with tarfile.open(path) as archive:
        members = [one for one in archive if one.isfile() and one.name.startswith("blobs/")]
        blobs = {one.name: archive.extractfile(one).read() for one in members}
        index = json.load(archive.extractfile("index.json"))
    assert all(images.sha256(data).endswith(name[-64:]) for name, data in blobs.items())
    manifest = json.loads(blobs[blob(index["manifests"][0])])
    config = json.loads(blobs[blob(manifest["config"])])
    return index, config, gzip.decompress(blobs[blob(manifest["layers"][0])])


def blob(descriptor):
    return "blobs/" + descriptor["digest"].replace(":", "/")


@pytest.fixture(params=["busybox", "host"])
def rootfs(request, tmp_path):
    """The unpacked root file system and the config, once of busybox and once of the host's programs."""
    if request.param == "busybox":
        request.getfixturevalue("busybox")
        options = []
    else:
        options = ["--busybox", "/bin/sh"]
    _, config, layer = make(tmp_path / "pipeline.tar.gz", *options)
    (tmp_path / "rootfs" / "images").mkdir(parents=True)
    subprocess.run(["tar", "-xpC", tmp_path / "rootfs"], input=layer, check=True)
    return tmp_path / "rootfs", config


def build(rootfs, **settings):
    """Run the image's command in a chroot; return its status."""
    top, config = rootfs
    environment = dict(one.split("=", 1) for one in config["config"]["Env"])
    command = [sys.executable, "-c", CHROOT, top, *config["config"]["Entrypoint"]]
    variables = {**environment, "ARSTORE_IMAGES": "/images", **settings}
    return subprocess.run(command, env=variables, capture_output=True, check=False).returncode


def manifest_digest(index):
    return index["manifests"][0]["digest"]


def built(place):
    """The digests of the two images that were built."""
    with tarfile.open(place / "greeter.tar") as archive:
        greeter = json.load(archive.extractfile("index.json"))
    return manifest_digest(greeter), manifest_digest(json.loads((place / "counter" / "index.json").read_bytes()))


def test_the_image_itself(tmp_path):
    index, config, layer = make(tmp_path / "pipeline.tar.gz")
    assert "annotations" not in index["manifests"][0]
    assert config["rootfs"]["diff_ids"] == [images.sha256(layer)]
    index, config, _ = make(tmp_path / "x.tar", "--name", "builder:2", "--exit-code", "7", "--leave", "junk")
    assert index["manifests"][0]["annotations"] == {images.REF_NAME: "builder:2"}
    assert {"PIPELINE_EXIT=7", "PIPELINE_LEAVE=junk"} <= set(config["config"]["Env"])


@pytest.mark.root
def test_it_builds_the_same_two_images_every_time(rootfs):
    assert build(rootfs) == 0
    place = rootfs[0] / "images"
    assert sorted(os.listdir(place)) == ["counter", "greeter.tar"]
    first = built(place)
    assert build(rootfs) == 0
    assert built(place) == first
    assert sorted(os.listdir(place)) == ["counter", "greeter.tar"]


@pytest.mark.root
@pytest.mark.tools("skopeo", "umoci")
def test_other_tools_read_them(rootfs, tmp_path):
    build(rootfs)
    place = rootfs[0] / "images"
    greeter = peers.umoci_unpack(f"oci-archive:{place}/greeter.tar:greeter:1", tmp_path / "greeter")
    assert (greeter / "greeting").read_text() == "Hello from an image that a container built.\n"
    counter = peers.umoci_unpack(f"oci:{place}/counter:counter:1", tmp_path / "counter")
    assert (counter / "greeting").read_text() == "1 2 3\n"
    assert (counter / "bin" / "sh").exists()


@pytest.mark.root
def test_it_fails_and_leaves_junk_when_asked_to(rootfs):
    place = rootfs[0] / "images"
    assert build(rootfs, PIPELINE_EXIT="7", PIPELINE_LEAVE="junk symlinks special names") == 7
    expected = {"counter", "greeter.tar", "notes.txt", "cut.tar", "pipe", "two\nlines.tar"}
    links = {"file-link.tar", "inner-link.tar", "directory-link"}
    assert set(os.listdir(place)) == expected | links
    assert all((place / name).is_symlink() for name in links)
    assert stat.S_ISFIFO((place / "pipe").stat().st_mode)


@pytest.mark.root
def test_it_leaves_nothing_when_asked_to(rootfs):
    assert build(rootfs, PIPELINE_LEAVE="nothing") == 0
    assert os.listdir(rootfs[0] / "images") == []


@pytest.mark.root
def test_outside_of_load_it_refuses(rootfs):
    assert build(rootfs, ARSTORE_IMAGES="") != 0


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    command = [sys.executable, TOOL, tmp_path / "no" / "x.tar"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
