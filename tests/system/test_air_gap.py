"""The commands of docs/air-gap.md, run as printed, on two sides that share one file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from support import attachments, dockerregistry, images, programs, registry
from support.cli import REPOSITORY, Arstore
from support.programs import program
from support.registry_user import become_unconfigured

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(bool(programs.runtime()[1]), reason=programs.runtime()[1] or "a runtime works"),
]


def blocks() -> list[str]:
    text = (REPOSITORY / "docs/air-gap.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(params=["api", pytest.param("fallback", marks=pytest.mark.long), "docker-registry"])
def outside(request, tmp_path):
    """A registry filled by other tools: two images that share a layer, signatures, and SBOMs."""
    if request.param != "docker-registry":
        with registry.served(referrers=request.param == "api") as served:
            yield served.host
        return
    if program("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    (tmp_path / "registry").mkdir()
    with dockerregistry.served(tmp_path / "registry") as host:
        yield host


def filled(tmp_path, outside, busybox):
    """Two images at *outside*, with all their attachments, by their repositories."""
    found = {}
    with open(busybox, "rb") as file:
        tools = [images.directory("bin"), images.file("bin/busybox", file.read(), 0o755)]
    shared = images.layer([images.directory("./"), *tools, images.directory("proc"), images.directory("dev")])
    maker = Arstore(tmp_path / "maker", tmp_path / "run0")
    for name, tag in (("app", "one"), ("base", "two")):
        own = images.layer([images.directory("./"), images.file("name", f"this is {name}\n".encode())])
        config = {"Cmd": ["/bin/busybox", "cat", "/name"]}
        picture = images.image(shared, own, names=[f"team/{name}:1"], config=config)
        some = [
            attachments.sbom(picture.descriptor(), f"what is in {name}"),
            attachments.signature(picture.digest, tag),
        ]
        some.append(attachments.sbom(some[0].descriptor(), f"who says so of {name}", "application/vnd.example.proof"))
        layout = tmp_path / f"layout-{name}"
        attachments.add_to_layout(images.write_layout(layout, picture), *some)
        maker.ok("import", layout)
        target = f"docker://{outside}/team/{name}:1"
        maker.ok("push", "--referrers", "--tls-verify=false", f"team/{name}:1", target)
        found[name] = (picture, some)
    return found


def test_the_story(tmp_path, monkeypatch, outside, busybox):
    become_unconfigured(monkeypatch, tmp_path)
    made = filled(tmp_path, outside, busybox)
    here = Arstore(tmp_path / "here", tmp_path / "run1")
    there = Arstore(tmp_path / "there", tmp_path / "run2")

    def typed(block: str, side: Arstore, place, inside="") -> str:
        """The output of the commands of *block* on *side*. A wrapper adds the store, and http."""
        place.mkdir(exist_ok=True)
        script = place / "arstore"
        words = " ".join(map(str, side.words()))
        script.write_text(
            "#!/bin/sh\n"
            'command=$1; shift; more=\ncase "$command $*" in *docker://*|pull*) more=--tls-verify=false;; esac\n'
            f'exec {words} $command $more "$@"\n'
        )
        script.chmod(0o755)
        variables = {"REGISTRY": outside, "INSIDE": inside, "PATH": f"{place}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", "-ec", block],
            cwd=place,
            env=side.environment(**variables),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    outward, inward, onward = blocks()
    first = typed(outward, here, tmp_path / "a")
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a" / "images.tar", tmp_path / "b" / "images.tar")
    second = typed(inward, there, tmp_path / "b")
    # `run` printed its line, and the lists of both sides are the same.
    assert "this is app\n" in second
    rows = [line for line in first.splitlines() if "application/" in line]
    assert len(rows) == 2
    assert [line for line in second.splitlines() if "application/" in line] == rows
    for name, (picture, some) in made.items():
        listed = there.json("referrers", f"store:{outside}/team/{name}:1")
        assert listed["digest"] == picture.digest
        assert {one["digest"] for one in listed["referrers"]} == {some[0].digest, some[1].digest}
    assert there.json("check")["findings"] == []
    for referrers in (True, False):
        with registry.served(referrers=referrers) as inside:
            listed = typed(onward, there, tmp_path / "b", inside.host)
            picture, some = made["app"]
            assert some[0].digest in listed
            assert {one.digest for one in some} <= inside.manifests["team/app"].keys()
            assert inside.tags["team/app"][some[1].tag] == some[1].digest


def test_all_are_tried():
    assert len(blocks()) == 3
