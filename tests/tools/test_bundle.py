"""Both bundles on a host without a network: a fresh Debian, in which the commands of docs/install.md are typed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import images, programs, runnable
from support.cli import REPOSITORY

pytestmark = [
    pytest.mark.root,
    pytest.mark.mounts,
    pytest.mark.runtime,
    pytest.mark.long,
    pytest.mark.tools("mmdebstrap", "unshare"),
]

SUITE, PYTHON = "trixie", "3.13"
PACKAGES = "python3,python3-venv,crun"
DOCUMENT = (REPOSITORY / "docs/install.md").read_text()
LIBRARY = re.findall(r"^```python\n(.*?)^```$", (REPOSITORY / "docs/library.md").read_text(), re.DOTALL | re.MULTILINE)
USE = """
export ARSTORE_ROOT=/srv/images ARSTORE_RUNROOT=/run/images
arstore load -i pipeline.tar.gz
arstore images
mounted=$(arstore mount greeter:1)
cat "$mounted/greeting"
arstore umount "$mounted"
arstore check
arstore run --rm greeter:1
"""
EMPTY = "rm -r /srv/library layout backup saved.tar root.tar app.docker.tar 2>&- || true"
"""Removes what an example has left."""


def commands(form):
    """The commands that docs/install.md has under the heading *form*."""
    section = DOCUMENT.split(f"\n### {form}\n")[1].split("\n## ")[0].split("\n### ")[0]
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE))


def bundle(*words):
    """Run `tools/bundle` in this environment; skips where pip reaches no index."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tools")}
    command = [sys.executable, "-m", "bundling", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, env=environment)
    if "Could not find a version" in done.stderr:
        pytest.skip(f"pip cannot download wheels here: {done.stderr.splitlines()[-1].strip()}")
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    """A root directory with a minimal Debian, Python and crun."""
    place = tmp_path_factory.mktemp("debian", numbered=True) / "root"
    mirror = [os.environ["MIRROR"]] if "MIRROR" in os.environ else []
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(place), *mirror]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        pytest.skip(f"mmdebstrap cannot make a Debian here: {done.stderr.strip().splitlines()[-1]}")
    (place / ".arstore-peers").touch()
    yield place
    shutil.rmtree(place)


class Host:
    """The Debian, started without a network."""

    def __init__(self, root):
        self.root = root
        self.home = root / "root/carried"
        self.home.mkdir()

    def run(self, script, **variables):
        words = [
            "unshare",
            "--net",
            REPOSITORY / "tools/peers",
            "run",
            self.root,
            "env",
            "-i",
            "HOME=/root",
            "PATH=/usr/local/bin:/usr/bin:/usr/sbin",
        ]
        words += [f"{name}={value}" for name, value in variables.items()]
        words += ["sh", "-euc", f"cd /root/carried\n{script}"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300, cwd="/")
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def host(debian):
    started = Host(debian)
    subprocess.run(
        [sys.executable, REPOSITORY / "tools/pipeline_image.py", started.home / "pipeline.tar.gz"], check=True
    )
    members = [images.directory("etc"), images.file("etc/os-release", b"NAME=small\n")]
    images.write_oci_archive(started.home / "app.tar", images.image(images.layer(members), names=["app:1"]))
    if programs.busybox() is not None:
        assert runnable.write_runnable(started.home)
        for number, example in enumerate(LIBRARY):
            (started.home / f"example{number}.py").write_text(example.replace("/srv/images", "/srv/library"))
    (started.home / "broken.tar").write_bytes(b"\0" * 512)
    yield started
    for left in ("root/carried", "opt/arstore", "usr/local/bin/arstore", "srv/images", "srv/library", "root/.cache"):
        path = debian / left
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def test_there_is_no_network(host):
    assert re.findall(r"^ *(\w+):", host.run("cat /proc/net/dev"), re.MULTILINE) == ["lo"]


@pytest.mark.parametrize("form", ["wheels", "file"])
def test_the_page(form, host, tmp_path):
    if form == "wheels":
        archive = bundle("wheels", tmp_path / "arstore-0.1.0-wheels.tar", "--python", PYTHON)
        subprocess.run(["tar", "-xf", archive, "-C", host.home], check=True)
        installed = host.run(commands("Wheels"))
    else:
        shutil.copy(bundle("file", tmp_path / "arstore-0.1.0.pyz", "--python", PYTHON), host.home)
        installed = host.run(commands("One file"))
    assert installed.splitlines()[-1].split()[-1] == "0.1.0"
    used = host.run(USE)
    assert "pipeline:latest" in used
    assert "greeter:1" in used
    python = "/opt/arstore/bin/python" if form == "wheels" else "python3"
    # Each example in its own store; a warning that nothing can catch would be printed.
    examples = "for one in example*.py; do " + f"{python} -W error $one 2>errors; test ! -s errors; {EMPTY}; done"
    printed = host.run(examples, PYTHONPATH="" if form == "wheels" else "/usr/local/bin/arstore")
    assert ("NAME=small" in printed) == (programs.busybox() is not None)


def test_the_same_inputs_give_the_same_bytes(tmp_path):
    for form, name in (("wheels", "a.tar"), ("file", "a.pyz")):
        made = [bundle(form, tmp_path / place / name, "--python", PYTHON) for place in ("one", "two")]
        assert made[0].read_bytes() == made[1].read_bytes()
