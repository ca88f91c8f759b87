"""Whether an upper directory is in use, according to the kernel: real file systems, other namespaces, no traces."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arstore.linux.mounting import mount
from arstore.mounts import upper_in_use as uppers
from arstore.mounts.upper_in_use import is_in_use

pytestmark = [pytest.mark.root, pytest.mark.mounts]

REPOSITORY = Path(__file__).parents[2]
ASK = "import sys; from arstore.mounts.upper_in_use import is_in_use; print(is_in_use(sys.argv[1]))"
FILE_SYSTEMS = [
    "",
    "tmpfs",
    *(pytest.param(one, marks=pytest.mark.tools(f"mkfs.{one}")) for one in ("ext4", "xfs", "btrfs")),
]


@pytest.fixture
def place(tmp_path, request):
    """Directories on a file system of the requested kind."""
    kind = getattr(request, "param", "")
    made = tmp_path / "disk"
    made.mkdir()
    if kind == "tmpfs":
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", made], check=True)
    elif kind:
        with open(tmp_path / "image", "wb") as file:
            file.truncate(400 << 20)
        subprocess.run([f"mkfs.{kind}", "-q", tmp_path / "image"], check=True, capture_output=True)
        done = subprocess.run(["mount", "-o", "loop", tmp_path / "image", made], check=False, capture_output=True)
        if done.returncode:
            pytest.skip(f"this kernel cannot mount {kind}")
    for name in ("lower", "upper", "work", "shown"):
        (made / name).mkdir()
    yield made
    subprocess.run(["umount", "--quiet", made / "shown"], check=False)
    if kind:
        subprocess.run(["umount", made], check=True)


def show(place, options="index=off"):
    options += f",lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, place / "shown"], check=True)


def hide(place, *options):
    subprocess.run(["umount", *options, place / "shown"], check=True)


def is_free(place):
    """Wait until the upper directory is free: a parallel mount namespace may have a copy of the mount."""
    for _ in range(200):
        if is_in_use(str(place / "upper")) is False:
            return True
        time.sleep(0.05)
    return False


def traces(place):
    """Everything that a trial could leave: entries, attributes, times."""
    found = {}
    for path in (place, *sorted(place.rglob("*"))):
        status = os.lstat(path)
        attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path)}
        found[path.name] = (status.st_mtime_ns, status.st_ctime_ns, attributes)
    return found


@pytest.mark.parametrize("place", FILE_SYSTEMS, indirect=True)
def test_an_upper_directory_in_use_is_known(place):
    before = traces(place)
    assert is_in_use(str(place / "upper")) is False
    assert traces(place) == before
    assert not os.path.ismount(place / "shown")
    show(place)
    during = traces(place)
    assert is_in_use(str(place / "upper")) is True
    assert traces(place) == during
    (place / "shown/new").touch()
    hide(place)
    assert is_free(place)


def test_through_every_path(place, tmp_path):
    show(place)
    (tmp_path / "link").symlink_to(place)
    (tmp_path / "bound").mkdir()
    mount.mount(str(place), str(tmp_path / "bound"), "", mount.MS_BIND)
    try:
        for path in (place, tmp_path / "link", tmp_path / "bound"):
            assert is_in_use(f"{path}/upper") is True
    finally:
        mount.umount(str(tmp_path / "bound"))


@pytest.mark.parametrize(
    "words", [["unshare", "-m"], ["unshare", "-pf", "--mount-proc", "-m"], ["unshare", "-Urm"]], ids=" ".join
)
def test_in_every_namespace(place, words):
    show(place)
    command = [*words, sys.executable, "-c", ASK, str(place / "upper")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=REPOSITORY)
    if "Operation not permitted" in done.stderr:
        pytest.skip("this host allows no such namespace")
    assert done.stdout.strip() == "True", done.stderr


def test_until_a_detached_mount_is_left(place):
    show(place)
    fd = os.open(place / "shown", os.O_RDONLY)
    hide(place, "--lazy")
    assert is_in_use(str(place / "upper")) is True
    os.close(fd)
    assert is_free(place)


def test_what_cannot_be_known(place, monkeypatch):
    assert is_in_use(str(place / "none")) is None
    (place / "link").symlink_to("upper")
    assert is_in_use(str(place / "link")) is None
    command = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", ASK, "/"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/")
    assert done.returncode or done.stdout.strip() == "None"
    monkeypatch.setattr(uppers.mount, "fsopen", lambda _: (_ for _ in ()).throw(PermissionError(1, "no")))
    assert is_in_use(str(place / "upper")) is None
