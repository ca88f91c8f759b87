"""The commands of docs/trust.md, run as printed, on a build side and on a host that share one disk.

Only the directories differ: those of the page are replaced by those of the test.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from os import environ

import pytest
from support import images
from support.cli import REPOSITORY, Arstore, exit_status

from arstore.digest import Digest
from arstore.trust.cosign import tag_of

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.runtime]

BUILD, HOST = "build", "host"
ON = [BUILD, BUILD, HOST, HOST, HOST, HOST, HOST, BUILD, HOST, HOST]
"""The side on which each block is run."""
_STATUS = re.compile(r"^(arstore .*?) +# exit status (\d+)$", re.MULTILINE)
_EXPECTED = r"if \1; then ended=0; else ended=$?; fi; [ $ended = \2 ] || { echo '\1': $ended >\&2; exit 99; }"
STRANGE = images.image(images.layer([images.file("a", b"another")]), names=["site/builder:1"])


def blocks() -> list[str]:
    text = (REPOSITORY / "docs/trust.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


class Side:
    """One machine: its home, its working directory, its store; *disk* moves from one to the other."""

    def __init__(self, place, disk) -> None:
        self.place, self.disk = place, disk
        for name in ("home", "work", "bin"):
            (place / name).mkdir(parents=True)
        self.work = place / "work"
        self.arstore = Arstore(place / "root", place / "run")
        words = " ".join(map(str, self.arstore.words()))
        (place / "bin" / "arstore").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (place / "bin" / "arstore").chmod(0o755)

    def typed(self, block: str) -> tuple[str, str]:
        """Run a block; return its stdout and stderr. Fails if a command ends otherwise than the page says."""
        script = _STATUS.sub(_EXPECTED, block)
        for old, new in (("/media/disk", self.disk), ("/etc/arstore", self.place / "etc")):
            script = script.replace(old, str(new))
        script = script.replace("/var/lib/ar/", f"{self.arstore.root}/")
        done = subprocess.run(
            ["sh", "-ec", script], cwd=self.work, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.place}/bin:{environ['PATH']}"
        return self.arstore.environment(PATH=path, HOME=str(self.place / "home"))

    def run(self, *words) -> int:
        """The exit status of a command of arstore."""
        return self.arstore.run(*words, HOME=str(self.place / "home")).status

    @property
    def policy(self):
        return self.place / "etc" / "policy.json"


@pytest.fixture
def sides(tmp_path, pipeline):
    disk = tmp_path / "disk"
    disk.mkdir()
    sides = {name: Side(tmp_path / name, disk) for name in (BUILD, HOST)}
    shutil.copy(pipeline, sides[BUILD].work / "pipeline.tar.gz")
    return sides


def names(side: Side) -> set[str]:
    return {name for image in side.arstore.json("images") for name in image["names"]}


def test_the_story(sides):
    host = sides[HOST]
    said = []
    for number, (block, name) in enumerate(zip(blocks(), ON, strict=True)):
        said.append(sides[name].typed(block))
        if number == 3:
            assert names(host) == {"site/builder:1", "greeter:1", "counter:1"}
            before = host.arstore.json("images"), host.arstore.json("du")["blobs"]
        if number == 4:
            # The refused image has left nothing, and nothing of it has run.
            assert (host.arstore.json("images"), host.arstore.json("du")["blobs"]) == before
            assert "built greeter:1" not in said[4][1]
    assert "sigstoreSigned keyPath" in said[2][0]
    assert "good" in said[3][0]
    assert "built greeter:1" in said[3][1]
    assert "Hello from an image that a container built.\n" in said[3][0]
    assert "a signature is required, but there is none" in said[4][0]
    # Both signatures are in the store: one came with the first archive.
    for key in ("builds", "builds-2"):
        host.arstore.ok("verify", "--key", host.place / "etc" / f"{key}.pub", "site/builder:1")


def loaded(sides) -> None:
    """Run all blocks that make a policy, without loading anything."""
    for block, name in list(zip(blocks(), ON, strict=True))[:3]:
        sides[name].typed(block)


def test_another_image_with_the_signature_of_this_one(sides, tmp_path):
    """Its digests are all valid; the signature was moved to its tag, as an attacker can."""
    loaded(sides)
    host, disk = sides[HOST], sides[HOST].disk
    layout = tmp_path / "forged"
    sides[BUILD].arstore.ok("copy", "store:site/builder:1", f"oci:{layout}:site/builder:1")
    index = json.loads((layout / "index.json").read_bytes())
    name = "org.opencontainers.image.ref.name"
    signed = sides[BUILD].arstore.json("images")[0]["digest"]
    (signature,) = [one for one in index["manifests"] if one["annotations"][name].startswith("sha256-")]
    other = images.write_layout(tmp_path / "other", STRANGE)
    shutil.copytree(layout / "blobs", other / "blobs", dirs_exist_ok=True)
    forged = json.loads((other / "index.json").read_bytes())
    moved = signature | {"annotations": {name: tag_of(Digest(STRANGE.digest))}}
    forged["manifests"].append(moved)
    (other / "index.json").write_text(json.dumps(forged))
    subprocess.run(["tar", "-C", other, "-cf", disk / "forged.tar", "."], check=True)
    line = host.arstore.fails("Rejected", "load", "--policy", host.policy, "-i", disk / "forged.tar")
    assert f"the signature is for {signed}, not for {STRANGE.digest}" in line
    assert not (host.arstore.root / "site").exists()


def test_where_a_policy_accepts(sides, tmp_path):
    """Not on another path, not under another name, and not images that another pipeline leaves."""
    loaded(sides)
    host, build, rejected = sides[HOST], sides[BUILD], exit_status("Rejected")
    load = ("load", "--policy", host.policy, "-i")
    shutil.copy(host.disk / "signed.tar.gz", tmp_path / "elsewhere.tar.gz")
    assert host.run(*load, tmp_path / "elsewhere.tar.gz") == rejected
    build.arstore.ok("tag", "site/builder:1", "site/other:1")
    build.arstore.ok("save", "--remove-signatures", "site/other:1", "-o", tmp_path / "plain.tar")
    words = ("--sign-by-key", build.work / "builds.key", "--sign-passphrase-file", build.work / "secret")
    build.arstore.ok("copy", *words, tmp_path / "plain.tar", f"oci-archive:{host.disk}/other.tar")
    assert host.run(*load, host.disk / "other.tar") == rejected
    # The pipeline is accepted; its images are in a directory that the policy does not name.
    assert host.run(*load, host.disk / "signed.tar.gz", "--name", "site/renamed:1") == exit_status("SubImage")
    assert names(host) == {"site/renamed:1"}


def test_a_pipeline_that_carries_signed_archives(sides, tmp_path, busybox):
    """The images that it leaves are signed too, and every policy requires signatures."""
    loaded(sides)
    host, build = sides[HOST], sides[BUILD]
    key = ("--key", build.work / "builds.key", "--passphrase-file", build.work / "secret")
    inner = images.image(images.layer([images.file("a", b"inner")]), names=["site/builder:inner"])
    build.arstore.ok("import", images.write_oci_archive(tmp_path / "inner.tar", inner))
    build.arstore.ok("sign", *key, "site/builder:inner")
    build.arstore.ok("save", "site/builder:inner", "-o", tmp_path / "signed-inner.tar")
    with open(busybox, "rb") as file:
        members = [images.directory("bin"), images.file("bin/busybox", file.read(), 0o755)]
    members.append(images.file("inner.tar", (tmp_path / "signed-inner.tar").read_bytes()))
    command = ["/bin/busybox", "sh", "-c", '/bin/busybox cp /inner.tar "$ARSTORE_IMAGES/"']
    outer = images.image(images.layer(members), names=["site/builder:2"], config={"Cmd": command})
    build.arstore.ok("import", images.write_oci_archive(tmp_path / "outer.tar", outer))
    build.arstore.ok("sign", *key, "site/builder:2")
    build.arstore.ok("save", "site/builder:2", "-o", host.disk / "carrier.tar")
    policy = json.loads(host.policy.read_text())
    scopes = policy["transports"]["oci-archive"]
    for scope in scopes:
        scopes[scope] = scopes[str(host.disk)]
    host.policy.write_text(json.dumps(policy))
    words = ("load", "--policy", host.policy, "--require-signatures", "-i")
    host.arstore.ok(*words, host.disk / "carrier.tar")
    assert names(host) == {"site/builder:2", "site/builder:inner"}
    host.arstore.ok("unpack", "--policy", host.policy, "--require-signatures", "site/builder:inner", tmp_path / "out")
    # The other pipeline is signed as well, and builds images that are not.
    assert host.run(*words, host.disk / "signed.tar.gz") == exit_status("SubImage")


def test_all_are_tried():
    text = (REPOSITORY / "docs/trust.md").read_text()
    assert len(blocks()) == len(ON)
    assert len(_STATUS.findall(text)) == text.count("# exit status") == 7
