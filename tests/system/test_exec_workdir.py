"""`exec --workdir` when the container changes the directory between arstore's check and the runtime's chdir(2).

The check gives a good message, but the container can change the directory after it. The protection is that a runtime
changes the directory as a process of the container, with no directory of the host open. So a path that became a link
to a descriptor of the process, or to its root or directory, is refused or leads to somewhere in the container.
(CVE-2024-21626 was a runc with such a directory open.)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import images

pytestmark = [pytest.mark.root, pytest.mark.mounts, pytest.mark.runtime]

BEATEN = """
import sys
from arstore.errors import ArstoreError
from arstore.runtime.lifecycle import exec as module
from arstore.runtime.spec.options import ExecOptions

module.working_directory = lambda text, root: text
module.check_working_directory = lambda *_: None
for place in sys.argv[2:]:
    sys.stdout.write(place + ": ")
    sys.stdout.flush()
    try:
        module.exec_in(sys.argv[1], ("sh", "-c", "ls -d ./" + "../" * 30 + "marker"), ExecOptions(workdir=place))
    except ArstoreError as error:
        print("refused", type(error).__name__, flush=True)
"""
"""exec as it is if the container wins the race each time."""

PLACES = [
    *(f"/proc/self/fd/{number}" for number in range(30)),
    *(f"/proc/self/fd/{number}/../.." for number in range(3, 12)),
    "/proc/self/cwd",
    "/proc/self/cwd/../../..",
    "/proc/self/root",
    "/proc/self/root/..",
    "/proc/thread-self/cwd",
    "/proc/1/cwd/..",
    "/link",
]


@pytest.fixture(params=["runc", "crun"])
def running(request, store, tmp_path, busybox):
    """The directory of a container that runs under one of the runtimes."""
    path = shutil.which(request.param)
    if path is None:
        pytest.skip(f"{request.param} is not installed")
    members = [images.directory(name) for name in ("./", "bin", "proc", "dev", "sys")]
    members += [images.file("bin/busybox", Path(busybox).read_bytes(), 0o755), images.file("marker")]
    members += [images.symlink(f"bin/{name}", "busybox") for name in ("sh", "ls", "ln", "sleep")]
    members.append(images.symlink("link", "/proc/self/cwd"))
    picture = images.image(images.layer(members), names=["box:1"], config={"Env": ["PATH=/bin"]})
    store.ok("import", images.write_oci_archive(tmp_path / "box.tar", picture))
    # crun works in more places without control groups; runc needs them.
    options = ["--cgroups=disabled"] if request.param == "crun" else []
    done = store.run("run", "-d", "--name", "box", "--runtime", path, *options, "box:1", "sleep", "600")
    if "does not work here" in done.err:
        pytest.skip(done.err.strip())
    assert done.status == 0, done.err
    yield store.root / "containers/box"
    store.run("kill", "box")
    store.run("container", "rm", "-f", "-t", "0", "box")


def test_a_container_that_wins_the_race_gains_nothing(running, store):
    words = [sys.executable, "-c", BEATEN, running, *PLACES]
    done = subprocess.run(words, env=store.environment(), capture_output=True, text=True, check=True, timeout=200)
    lines = done.stdout.splitlines()
    assert len(lines) == len(PLACES), done
    odd = [line for line in lines if ": refused " not in line and not line.endswith("/marker")]
    assert odd == []
    assert any(line.endswith("/marker") for line in lines)
    assert done.stderr == ""


def test_without_a_race_the_check_says_why(running, store):
    for place in ("/proc/self/fd/7", "/link", "/proc/self/cwd"):
        assert "is in /proc" in store.run("exec", "-w", place, "box", "ls").err
    assert "does not exist" in store.run("exec", "-w", "/nowhere", "box", "ls").err
