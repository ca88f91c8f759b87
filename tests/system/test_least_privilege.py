"""Other users of the host: they can neither read nor run anything in a store, and mounts grant them no rights."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from support import images
from support.cli import Arstore

pytestmark = [pytest.mark.root, pytest.mark.tools("setpriv")]

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env")
"""setpriv itself still has root's capabilities when it executes a program: env looks it up without them."""


@pytest.fixture
def place():
    """A directory that every user can reach."""
    made = Path(tempfile.mkdtemp(prefix="arstore-open-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def arstore(place):
    made = Arstore(place / "root", place / "run")
    yield made
    if made.root.exists():
        made.run("umount", "--all", "--force")


@pytest.fixture
def image(place, busybox):
    """An image that tries to gain rights on a host: set-ID programs, capabilities, devices, secrets."""
    program = Path(busybox).read_bytes()
    # Busybox drops the rights of its mode before it does anything.
    tell = Path(shutil.which("id") or "").read_bytes()
    members = [
        images.directory(".", 0o755),
        images.file("user/id", tell, 0o4755),
        images.file("group/id", tell, 0o2755),
        images.file("plain/busybox", program, 0o755),
        images.device("null", "c", 1, 3, 0o666),
        images.device("disk", "b", 1, 0, 0o666),
        images.file("secret", b"secret", 0o644),
        images.directory("open", 0o777),
    ]
    picture = images.image(images.layer(members), names=["tempting:1"], config={"Cmd": ["/plain/busybox", "true"]})
    return images.write_oci_archive(place / "image.tar", picture)


def as_nobody(*words):
    """The exit status and the output of a command run as `nobody`."""
    done = subprocess.run([*AS_NOBODY, *map(str, words)], capture_output=True, text=True, check=False, cwd="/")
    return done.returncode, done.stdout.strip(), done.stderr


def reachable(*directories):
    """Every file and directory in *directories* that the user `nobody` can see."""
    return as_nobody("find", *directories, "-mindepth", "1")[1].splitlines()


def with_umask(arstore, umask):
    """The same store, its commands with this umask."""
    return Arstore(arstore.root, arstore.runroot, ("sh", "-c", f'umask {umask:o}; exec "$@"', "sh"))


@pytest.mark.parametrize("form", ["erofs", "directory"])
@pytest.mark.parametrize("umask", [0, 0o077])
def test_nothing_in_a_store_is_reachable(arstore, place, image, umask, form):
    store = with_umask(Arstore(place / "far/away/root", place / "far/away/run"), umask)
    store.ok("import", "--tree", form, image)
    store.ok("tag", "tempting:1", "second:1")
    store.ok("check")
    assert reachable(store.root, store.runroot) == []
    for directory in (store.root, store.runroot):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for parent in (place / "far", place / "far/away"):
        assert not parent.stat().st_mode & 0o022


@pytest.mark.mounts
@pytest.mark.parametrize("umask", [0, 0o077])
def test_nothing_of_a_mount_below_the_runroot_is_reachable(arstore, place, image, umask):
    store = with_umask(arstore, umask)
    store.ok("import", image)
    view = store.ok("mount", "tempting:1").text.strip()
    box = store.ok("mount", "--rw", "--name", "box", "tempting:1").text.strip()
    (Path(box) / "mine").write_text("x")
    try:
        assert reachable(store.root, store.runroot) == []
        for path in (view, box):
            assert as_nobody("cat", f"{path}/secret")[0] != 0
            assert as_nobody(f"{path}/user/id", "-u")[0] in {126, 127}
    finally:
        store.ok("umount", "--all")


@pytest.mark.runtime
@pytest.mark.parametrize("umask", [0, 0o077])
def test_nothing_of_a_container_is_reachable(arstore, image, umask):
    store = with_umask(arstore, umask)
    store.ok("import", image)
    store.ok("run", "-d", "--name", "one", "tempting:1", "/plain/busybox", "sleep", "60")
    try:
        assert reachable(store.root, store.runroot) == []
    finally:
        store.ok("kill", "one")
        store.ok("container", "rm", "--force", "-t", "0", "one")


@pytest.mark.runtime
def test_nothing_that_a_pipeline_leaves_is_reachable(arstore, busybox):
    """A pipeline may open its images directory to everyone, with programs in it."""
    script = "d=$ARSTORE_IMAGES; chmod 777 $d; cp /plain/busybox $d/su; chmod 4777 $d/su; chmod 777 $ARSTORE_PIPELINES"
    config = {"Cmd": ["/plain/busybox", "sh", "-c", f"PATH=/plain; {script}"]}
    store = with_umask(arstore, 0)
    program = images.file("plain/busybox", Path(busybox).read_bytes(), 0o755)
    picture = images.image(
        images.layer([program, *(images.symlink(f"plain/{name}", "busybox") for name in ("cp", "chmod"))]),
        names=["site/maker:1"],
        config=config,
    )
    archive = images.write_oci_archive(arstore.root.parent / "maker.tar", picture)
    assert "su" in store.fails("SubImage", "load", "-i", archive)
    left = store.root / "site/maker/images/su"
    assert left.stat().st_mode & stat.S_ISUID
    assert reachable(store.root, store.runroot) == []
    assert as_nobody(left, "id")[0] in {126, 127}


def test_an_open_store_is_closed(arstore, image):
    arstore.ok("import", image)
    for directory in (arstore.root, arstore.runroot):
        directory.chmod(0o755)
    assert reachable(arstore.root)
    arstore.ok("images")
    assert reachable(arstore.root, arstore.runroot) == []


@pytest.mark.parametrize("which", ["root", "runroot"])
def test_a_directory_of_something_else_is_not_closed(arstore, image, which):
    directory = getattr(arstore, which)
    directory.mkdir()
    directory.chmod(0o755)
    (directory / "lib").mkdir()
    assert str(directory) in arstore.fails("Host", "import", image)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert os.listdir(directory) == ["lib"]


def test_an_empty_directory_is_taken(arstore, image):
    for directory in (arstore.root, arstore.runroot):
        directory.mkdir()
        directory.chmod(0o777)
    arstore.ok("import", image)
    for directory in (arstore.root, arstore.runroot):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


# --- mounts at a target chosen by the user --------------------------------------------------------------------------


def raised(path):
    """Rights that set-ID programs and devices below *path* give to `nobody`: user id, group id, a device."""
    found = set()
    if as_nobody(f"{path}/user/id", "-u")[1] == "0":
        found.add("user")
    if as_nobody(f"{path}/group/id", "-g")[1] == "0":
        found.add("group")
    if as_nobody("sh", "-c", f": > {path}/null")[0] == 0:
        found.add("device")
    assert as_nobody(f"{path}/plain/busybox", "id", "-u")[1] == str(NOBODY)
    assert as_nobody("cat", f"{path}/secret")[1] == "secret"
    return found


@pytest.mark.mounts
@pytest.mark.parametrize(
    ("form", "how", "allowed", "expected"),
    [
        ("erofs", [], [], set()),
        ("erofs", ["--rw"], [], set()),
        ("directory", [], [], set()),
        ("directory", ["--rw"], ["--suid"], {"user", "group"}),
        ("erofs", [], ["--dev"], {"device"}),
        ("erofs", ["--rw"], ["--suid", "--dev"], {"user", "group", "device"}),
    ],
    ids=["view", "container", "extracted", "suid", "dev", "both"],
)
def test_what_an_image_may_do_to_a_host(arstore, place, image, form, how, allowed, expected):
    target = place / "target"
    target.mkdir()
    arstore.ok("import", "--tree", form, image)
    arstore.ok("mount", *how, *allowed, "tempting:1", target)
    try:
        assert raised(target) == expected
        assert reachable(arstore.root, arstore.runroot) == []
        if "--dev" not in allowed:
            with pytest.raises(PermissionError):
                os.open(target / "disk", os.O_RDONLY)
    finally:
        arstore.ok("umount", target)


@pytest.mark.runtime
def test_in_a_container_programs_raise_and_devices_of_the_image_are_names(arstore, place, image):
    """As in other engines: su works there, /dev is the runtime's. Programs left in a named volume grant no rights."""
    shared = place / "shared"
    shared.mkdir()
    arstore.ok("import", image)
    script = "cat /proc/self/mountinfo; : > /dev/null && echo dev; (: > /null) || echo no; cat /disk || echo no"
    words = ("tempting:1", "/plain/busybox", "sh", "-c", script)
    volumes = ("-v", f"{shared}:/shared", "-v", f"{shared}:/strict:nosuid,nodev", "-v", "named:/named")
    lines = arstore.ok("run", *volumes, "--entrypoint", "", *words).text.splitlines()
    assert lines[-3:] == ["dev", "no", "no"]
    options = {fields[4]: set(fields[5].split(",")) for line in lines[:-3] if (fields := line.split())}
    assert "nodev" in options["/"]
    assert "nosuid" not in options["/"]
    assert {"nosuid", "nodev"}.isdisjoint(options["/shared"])
    assert {"nosuid", "nodev"} <= options["/strict"] & options["/named"]
