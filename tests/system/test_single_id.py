"""As an ordinary user with one id in namespaces, or who may not make one: what is left, and which reason is given."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile

import pytest
from support import images, ordinary
from support.cli import Arstore, exit_status
from system.test_without_root import PICTURE, brought, listed_inside

pytestmark = [pytest.mark.root, pytest.mark.mounts]


@pytest.fixture
def user():
    if why := ordinary.why_no_namespace():
        pytest.skip(why)
    with ordinary.user("") as one:
        yield one


def members(data):
    with tarfile.open(fileobj=data) as archive:
        return {one.name: one for one in archive}


SINGLE_CHANGES = """
m=$(ar mount --rw --name box app:1); cd $m
touch bin/ping; mv far moved; mv dev/disk dev/moved; chmod 600 dev/null; touch -h link; echo x > made; cd /
"""


def test_owners_are_one_and_come_back(user, tmp_path):
    archive = brought(user)
    said = user.ok("import", archive).err
    assert f"{ordinary.NAME} has no subordinate ids in /etc/subuid" in said
    assert said.count("files of all owners get this user") == 1
    assert "system.posix_acl_access of var/list, because an id in it does not exist" in said
    assert user.inside(SINGLE_CHANGES).returncode == 0
    shown = "".join(listed_inside(user, "mount app:1"))
    assert "65000" not in shown
    user.ok("commit", "box", "new:1")
    saved = user.place / "new.tar"
    user.ok("save", "new:1", "-o", saved)
    theirs = Arstore(tmp_path / "root", tmp_path / "run")
    theirs.ok("import", saved)
    target = theirs.ok("mount", "new:1").text.strip()
    try:
        about = {name: os.lstat(f"{target}/{name}") for name in ("also", "moved", "link", "etc", "pipe", "made")}
        assert {name: (one.st_uid, one.st_gid) for name, one in about.items()} == {
            "also": (65_000, 65_000),
            "moved": (65_000, 65_000),
            "link": (7, 8),
            "etc": (3, 4),
            "pipe": (9, 0),
            "made": (0, 0),
        }
        assert os.lstat(f"{target}/dev/moved").st_rdev == os.makedev(8, 1)
        assert not os.listxattr(f"{target}/moved")
    finally:
        theirs.ok("umount", target)
    user.ok("check")
    user.ok("container", "rm", "--force", "-t", "0", "box")
    user.ok("rm", "app:1", "new:1")
    shutil.rmtree(user.root / "trees")


@pytest.mark.long
def test_an_export_has_the_owners(user):
    brought(user)
    assert user.inside(SINGLE_CHANGES).returncode == 0
    found = members(io.BytesIO(user.ok("export", "box").out))
    assert (found["moved"].uid, found["link"].uid, found["link"].gid, found["pipe"].uid) == (65_000, 7, 8, 9)
    assert found["dev/null"].ischr()
    assert found["dev/null"].mode == 0o600


@pytest.mark.long
def test_ids_that_come_later_are_used(user):
    archive = brought(user)
    assert {one["form"] for one in user.json("layers")} == {"single-directory"}
    for name in ("subuid", "subgid"):
        (user.place.parent / "etc" / name).write_text(f"{ordinary.NAME}:{ordinary.FIRST}:{ordinary.COUNT}\n")
    ours = listed_inside(user, "mount app:1")
    assert {one["form"] for one in user.json("layers")} == {"user-directory"}
    assert any("65000" in line for line in ours)
    assert archive


# --- reasons --------------------------------------------------------------------------------------------------------


@pytest.fixture
def able():
    if why := ordinary.why_no_namespace():
        pytest.skip(why)
    with ordinary.user() as one:
        yield one


def why_of(user, *prefix, **variables):
    """The line that `unshare` ends with, or its warning, after the words *prefix*."""
    words = user.words("unshare", "true")[len(user.prefix) :]
    done = user.program(*prefix, *words, **variables)
    return done.returncode, done.stderr.strip()


def test_a_missing_program(able):
    status, said = why_of(able, "env", "PATH=/nothing")
    assert "the program newuidmap is missing" in said
    assert "package uidmap" in said
    # `true` is not found either.
    assert status == 127


def test_a_program_without_privileges(able):
    programs = able.place / "bin"
    programs.mkdir()
    for name in ("newuidmap", "newgidmap"):
        shutil.copy(shutil.which(name), programs / name)
        (programs / name).chmod(0o755)
    status, said = why_of(able, PATH=f"{programs}:{os.environ['PATH']}")
    assert (status, f"{programs}/newuidmap is neither set-user-ID" in said) == (0, True)
    assert said.endswith(f"`chmod u+s {programs}/newuidmap`")


@pytest.mark.long
def test_no_new_privileges(able):
    status, said = why_of(able, "setpriv", "--no-new-privs")
    assert (status, "no_new_privs" in said) == (0, True)
    assert "install" not in said


@pytest.mark.long
@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (
            f"{ordinary.NAME}:{ordinary.UID - 5}:100\n",
            f"the range from {ordinary.UID - 5} on contains this user's own id",
        ),
        (f"{ordinary.NAME}:{ordinary.UID}:100\n", f"the range from {ordinary.UID} on contains this user's own id"),
    ],
)
def test_ranges_that_the_kernel_refuses(lines, why):
    """newuidmap says only `Invalid argument`."""
    if missing := ordinary.why_no_namespace():
        pytest.skip(missing)
    with ordinary.user(lines) as one:
        status, said = why_of(one)
        assert (status, f"/etc/subuid: {why}; as root, add the line {ordinary.NAME}:" in said) == (0, True), said


def test_a_program_that_refuses(able):
    programs = able.place.parent / "bin"
    programs.mkdir()
    for name in ("newuidmap", "newgidmap"):
        shutil.copy(shutil.which("false"), programs / name)
        (programs / name).chmod(0o4755)
    status, said = why_of(able, PATH=f"{programs}:{os.environ['PATH']}")
    assert (status, "newuidmap failed: ended with status 1" in said) == (0, True)


def test_a_limit_of_namespaces(able):
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --reuid=1 "$@"'
    words = able.words("unshare", "true")[len(able.prefix) :]
    done = subprocess.run(
        [*able.prefix[:-4], *able.prefix[-4:], sys.executable, "-c", _AS_USER_OF_A_NAMESPACE, script, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=able.environment(),
    )
    assert done.returncode == 125, done.stderr
    assert "sysctl user.max_user_namespaces is 0" in done.stderr


_AS_USER_OF_A_NAMESPACE = """
import os, sys
from arstore.linux.isolation import rootless
rootless.enter()
os.execvp("sh", ["sh", "-ec", sys.argv[1], "sh", *sys.argv[2:]])
"""


_IN_A_CHROOT = """
import os, sys
from arstore.linux.isolation import rootless
from arstore.linux.mounting.mountinfo import read_mounts
import ctypes
uid = int(sys.argv[2])
rootless.forbidden(), rootless.available(), read_mounts()
os.chroot(sys.argv[1])
os.chdir("/")
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
try:
    rootless.enter()
except rootless.RefusedError as error:
    print(error.why)
"""


@pytest.mark.long
def test_a_chroot(able):
    jail = able.place.parent / "jail"
    (jail / "proc").mkdir(parents=True)
    script = f'mount --rbind /proc {jail}/proc; exec "$@"'
    words = ["unshare", "--mount", "sh", "-ec", script, "sh", sys.executable, "-c", _IN_A_CHROOT, jail, ordinary.UID]
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, cwd="/", env=able.environment()
    )
    assert "this process is in a chroot" in done.stdout, done.stderr


_BEHIND_A_FILTER = """
import ctypes, os, struct, sys
# Load the system call's number; refuse unshare(2) with EPERM; permit all others.
numbers = {"x86_64": 272, "aarch64": 97}
code = [(0x20, 0, 0, 0), (0x15, 0, 1, numbers[os.uname().machine]), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
rules = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in code))
program = struct.pack("=HxxxxxxQ", len(code), ctypes.addressof(rules))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.skipif(os.uname().machine not in {"x86_64", "aarch64"}, reason="unknown number of unshare(2)")
def test_a_filter(able):
    status, said = why_of(able, sys.executable, "-c", _BEHIND_A_FILTER)
    assert (status, "a filter (seccomp) around this process forbids it" in said) == (125, True), said


@pytest.mark.long
def test_an_import_goes_on_without_a_namespace(able):
    archive = images.write_oci_archive(able.place.parent / "app.tar", PICTURE)
    archive.chmod(0o644)
    behind = (sys.executable, "-c", _BEHIND_A_FILTER)
    done = able.program(*behind, *able.words("import", archive)[len(able.prefix) :])
    assert done.returncode == 0, done.stderr
    assert "layer trees were not built: user namespaces: a filter (seccomp)" in done.stderr
    done = able.program(*behind, *able.words("diff", "app:1", "app:1")[len(able.prefix) :])
    assert done.returncode == exit_status("PermissionDenied")
    assert "a filter (seccomp)" in done.stderr
    target = able.place / "copy"
    done = able.program(*behind, *able.words("unpack", "app:1", target)[len(able.prefix) :])
    assert (done.returncode, (target / "new").read_bytes()) == (0, b"new")
    # What needs a namespace to be removed is not touched.
    able.ok("import", archive)
    assert able.inside("ls $(ar mount app:1)").returncode == 0
    done = able.program(*behind, *able.words("rm", "app:1")[len(able.prefix) :])
    assert done.returncode == exit_status("Host")
    assert able.json("images")
