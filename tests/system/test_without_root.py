"""As an ordinary user with subordinate ids: trees, mounts, containers and what they give back, as root has them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import images, ordinary, treelist
from support.cli import REPOSITORY, Arstore, exit_status

from arstore.trees.substitutes import DEVICE

pytestmark = [pytest.mark.root, pytest.mark.mounts]

CAPABILITY = b"\1\0\0\2\0\x20\0\0" + bytes(12)
ACL = bytes.fromhex("02000000 01000600ffffffff 02000600e8030000 04000400ffffffff 10000600ffffffff 20000400ffffffff")
LOWER = images.layer(
    [
        images.directory("etc", mode=0o750, uid=3, gid=4),
        images.file("etc/old", b"old", uid=33, gid=44),
        images.directory("hidden"),
        images.file("hidden/one", b"1"),
        images.directory("dev"),
        images.device("dev/null", "c", 1, 3, mode=0o666),
        images.device("dev/disk", "b", 8, 1, mode=0o660, gid=6),
        images.file("bin/ping", b"ping", mode=0o755, xattrs={"security.capability": CAPABILITY}),
        images.file("bin/su", b"su", mode=0o4755),
        images.file("var/list", b"x", xattrs={"system.posix_acl_access": ACL, "user.note": b"kept"}),
        images.symlink("link", "etc/old", uid=7, gid=8),
        images.fifo("pipe", uid=9),
        images.file("far", b"far", uid=65_000, gid=65_000),
        images.hardlink("also", "far"),
    ]
)
UPPER = images.layer(
    [images.whiteout("etc/old"), images.opaque("hidden"), images.file("hidden/two", b"2"), images.file("new", b"new")]
)
PICTURE = images.image(LOWER, UPPER, names=["app:1"])


@pytest.fixture
def user():
    if why := ordinary.why_no_namespace():
        pytest.skip(why)
    with ordinary.user() as one:
        yield one


@pytest.fixture
def root_store(tmp_path):
    return Arstore(tmp_path / "root", tmp_path / "run")


def brought(user, picture=PICTURE, *options):
    archive = images.write_oci_archive(user.place.parent / "app.tar", picture)
    archive.chmod(0o644)
    user.ok("import", *options, archive)
    return archive


LIST = f"{sys.executable} {REPOSITORY}/tests/support/treelist.py"


def listed_inside(user, command):
    """The listing of a mount by *command* in a namespace of the user."""
    done = user.inside(f"m=$(ar {command}); {LIST} $m")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def listed_by_root(store, archive, name="app:1"):
    store.ok("import", archive)
    target = store.ok("mount", name).text.strip()
    try:
        done = subprocess.run([*LIST.split(), target], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()
    finally:
        store.ok("umount", target)


def without_devices(lines):
    return [line for line in lines if not any(name in line for name in ("dev/null", "dev/disk", "dev/moved"))]


def test_a_mount_shows_what_root_sees(user, root_store):
    archive = brought(user)
    ours, theirs = listed_inside(user, "mount app:1"), listed_by_root(root_store, archive)
    assert len(ours) == len(theirs)
    assert without_devices(ours) == without_devices(theirs)


def test_a_mount_outside_is_refused_with_the_way_to_do_it(user):
    brought(user)
    outcome = user.run("mount", "app:1")
    assert outcome.status == exit_status("MountForbidden")
    assert "arstore unshare" in outcome.err
    assert user.json("mounts") == []


CHANGES = """
m=$(ar mount --rw --name box app:1); cd $m
chown 1000:50 bin/ping; rm far; touch dev/null; chmod 600 dev/null; mv dev/disk dev/moved
mkdir -m 2755 made; chgrp 12 made; ln -s x made/link; chown -h 5:6 made/link; rm -r hidden; mkdir hidden
chown 21 link -h; cd /
"""


def test_what_a_container_changed_comes_back_with_its_owners_and_devices(user, root_store):
    brought(user)
    done = user.inside(f"{CHANGES} {LIST} $m")
    assert done.returncode == 0, done.stderr
    user.ok("commit", "box", "new:1")
    saved = user.place / "new.tar"
    user.ok("save", "new:1", "-o", saved)
    assert without_devices(listed_by_root(root_store, saved, "new:1")) == without_devices(done.stdout.splitlines())
    target = root_store.ok("mount", "new:1").text.strip()
    try:
        found = treelist.listing(Path(target))
    finally:
        root_store.ok("umount", target)
    assert (found[b"dev/null"].kind, found[b"dev/null"].device, found[b"dev/null"].mode) == ("c", "1:3", 0o600)
    assert (found[b"dev/moved"].kind, found[b"dev/moved"].device, found[b"dev/moved"].gid) == ("b", "8:1", 6)
    assert b"dev/disk" not in found
    assert (found[b"made"].gid, found[b"made"].mode) == (12, 0o2755)
    assert (found[b"made/link"].uid, found[b"made/link"].gid) == (5, 6)
    assert found[b"link"].uid == 21
    assert (found[b"bin/ping"].uid, found[b"bin/ping"].gid) == (1000, 50)
    assert found[b"also"].uid == 65_000
    assert not any(name.startswith(b"hidden/") for name in found)
    assert not any(DEVICE in dict(one.xattrs) for one in found.values())


@pytest.mark.long
def test_export_and_diff_give_back_devices(user):
    brought(user)
    assert user.inside(CHANGES).returncode == 0
    names = subprocess.run(
        ["tar", "--numeric-owner", "-tvf", "-"], input=user.ok("export", "box").out, capture_output=True, check=True
    ).stdout.decode()
    lines = {line.split()[-1]: line for line in names.splitlines()}
    assert lines["dev/null"].startswith("crw-------")
    assert "8,1" in lines["dev/moved"]
    assert "65000/65000" in lines["also"]
    assert {(one["path"], one["kind"]) for one in user.json("diff", "box")} >= {
        ("/dev/null", "C"),
        ("/dev/moved", "A"),
        ("/dev/disk", "D"),
    }


@pytest.mark.long
def test_find_and_the_picture_know_the_trees_of_a_namespace(user, root_store):
    archive = brought(user)
    root_store.ok("import", archive)
    assert user.json("find", "*") == root_store.json("find", "*")
    assert user.json("find", "*")["unknown"] == {"layers": [], "files": 0}
    (index,) = user.root.glob("graph/contents")
    shutil.rmtree(index)
    assert user.json("find", "/etc/old")["found"] == root_store.json("find", "/etc/old")["found"]
    assert "hidden" in user.ok("du", "--tree").text


def test_unpack_keeps_owners(user):
    brought(user)
    target = user.place / "copy"
    outcome = user.ok("unpack", "app:1", target)
    assert os.stat(target / "also").st_uid == ordinary.FIRST + 65_000 - 1
    assert os.stat(target / "new").st_uid == ordinary.UID
    assert "devices of 2" in outcome.err
    # As every file of a subordinate id, it can be removed in a namespace.
    assert user.inside(f"rm -r {target}").returncode == 0


@pytest.mark.long
def test_every_command_that_removes_works_and_leaves_nothing(user):
    brought(user)
    user.ok("check")
    assert user.json("du")["trees"]
    assert user.inside(CHANGES).returncode == 0
    user.ok("container", "rm", "box")
    user.ok("trim")
    assert user.inside("ls $(ar mount app:1)").returncode == 0
    user.ok("backup", user.place / "kept")
    user.ok("rm", "app:1")
    user.ok("gc")
    assert os.listdir(user.root / "trees") == os.listdir(user.root / "containers") == []
    user.ok("check")


def test_the_record_of_a_mount_ends_with_its_namespace(user):
    brought(user)
    held = subprocess.Popen(
        user.words("unshare", "sh", "-c", f"{' '.join(user.words('mount', 'app:1')[len(user.prefix) :])}; read x"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=user.environment(),
    )
    try:
        assert held.stdout.readline()
        (shown,) = user.json("mounts")
        assert shown["state"] == "mounted"
        user.fails("InUse", "rm", "app:1")
        user.ok("gc")
        assert "unshare" in user.fails("Mount", "umount", shown["id"])
    finally:
        held.communicate(b"\n")
    (shown,) = user.json("mounts")
    assert shown["state"] == "stale"
    user.ok("rm", "app:1")
    user.ok("umount", shown["id"])
    assert user.json("mounts") == []
    assert not os.listdir(user.runroot / "mounts")


@pytest.mark.long
def test_check_finds_what_was_changed(user):
    brought(user)
    (place,) = (user.root / "trees").glob("*/files-user/far")
    user.inside(f"chown 5 {place}")
    outcome = user.run("check")
    assert outcome.status == exit_status("CheckFailed")
    assert "belongs to 5:65000 instead of 65000:65000" in outcome.text + outcome.err
    # Root, outside of the namespace, sees other numbers for all owners, and compares the rest.
    root_view = Arstore(user.root, user.runroot.parent / "of-root")
    assert root_view.run("check").status == 0
    user.ok("check", "--repair")
    user.ok("check")


def test_an_owner_without_an_id_is_named(user):
    picture = images.image(images.layer([images.file("huge", uid=900_000)]), names=["app:1"])
    archive = images.write_oci_archive(user.place.parent / "app.tar", picture)
    archive.chmod(0o644)
    said = user.ok("import", archive).err
    assert "huge belongs to user 900000, and the ids here end at 65536" in said
    done = user.inside("ar mount app:1")
    assert done.returncode == exit_status("PermissionDenied")
    assert "900000" in done.stderr
    user.ok("save", "app:1", "-o", user.place / "saved.tar")
    user.ok("rm", "app:1")
    assert os.listdir(user.root / "trees") == []


@pytest.mark.long
def test_a_store_of_other_ids_is_not_used(user):
    brought(user)
    ids = json.loads((user.root / "ids.json").read_text())
    assert ids["uids"] == [[0, ordinary.UID, 1], [1, ordinary.FIRST, ordinary.COUNT]]
    ids["uids"][1][1] -= 100_000
    (user.root / "ids.json").write_text(json.dumps(ids))
    assert "does not have any more" in user.fails("Host", "gc")
    assert user.json("images")


def test_a_namespace_of_root_is_not_the_hosts_root(user):
    found = json.loads(user.program("unshare", "-Urm", sys.executable, "-m", "arstore", "info", "--json").stdout)
    assert found["paths"]["root"] == f"{user.home}/.local/share/arstore"
    assert found["host"]["user_namespace"] is True
    # The runroot is the user's, too, and the same as outside.
    outside = json.loads(user.program(sys.executable, "-m", "arstore", "info", "--json").stdout)
    assert found["paths"]["runroot"] == outside["paths"]["runroot"]


@pytest.mark.long
def test_mounting_in_a_namespace_of_unshare(user):
    brought(user)
    words = user.words("mount", "app:1")[len(user.prefix) :]
    done = user.program("unshare", "-Urm", "sh", "-c", f"ls $({' '.join(words)})")
    assert (done.returncode, "new" in done.stdout) == (0, True), done.stderr
    done = user.program("unshare", "-Ur", *words)
    assert done.returncode == exit_status("MountForbidden")
    assert "mount namespace belongs to another" in done.stderr


def test_unshare_ends_as_its_command_does(user):
    assert user.inside("exit 7").returncode == 7
    assert user.run("unshare", "/nothing/here").status == 127
    assert user.run("unshare", "/etc/passwd").status == 126
    assert user.program(*user.words("unshare", "id", "-u")[len(user.prefix) :]).stdout == "0\n"


@pytest.mark.long
def test_trees_of_root_and_of_a_namespace_are_not_mixed(tmp_path):
    """Root's trees in a store that a user was given are built again, in the user's form."""
    if why := ordinary.why_no_namespace():
        pytest.skip(why)
    with ordinary.user() as user:
        archive = images.write_oci_archive(user.place.parent / "app.tar", PICTURE)
        of_root = Arstore(user.root, tmp_path / "run")
        of_root.ok("import", "--tree", "directory", archive)
        subprocess.run(["chown", "-R", f"{ordinary.UID}:{ordinary.UID}", user.root], check=True)
        assert {one["form"] for one in user.json("layers")} == {"directory"}
        assert user.inside("ls $(ar mount app:1)/new").returncode == 0
        assert {one["form"] for one in user.json("layers")} == {"user-directory"}
        user.ok("check")
        shutil.rmtree(tmp_path / "run", ignore_errors=True)


@pytest.mark.long
def test_a_store_of_root_is_used_as_an_additional_one(user):
    archive = images.write_oci_archive(user.place.parent / "app.tar", PICTURE)
    shared = Arstore(user.place.parent / "shared", user.place.parent / "run")
    shared.ok("import", archive)
    subprocess.run(["chmod", "-R", "go+rX,go-w", shared.root], check=True)
    # Inside, root's files have no known owner: they were looked at before.
    done = user.inside("ls $(ar mount app:1)/new", ARSTORE_ADDITIONAL_STORES=str(shared.root))
    assert done.returncode == 0, done.stderr
    assert {one["form"] for one in user.json("layers")} == {"user-directory"}


@pytest.fixture
def of_root(user):
    """A store of root, with `app:1`, in a directory that the user can reach; `open` makes it readable."""
    archive = images.write_oci_archive(user.place.parent / "app.tar", PICTURE)
    archive.chmod(0o644)
    store = Arstore(user.place.parent / "shared", user.place.parent / "run")
    store.ok("import", archive)
    return store


def opened_to_all(store):
    subprocess.run(["chmod", "-R", "go+rX,go-w", store.root], check=True)


def in_store(user, store, *words):
    """The user's command with the store of root."""
    line = user.words(*words)
    line[line.index("--root") + 1] = str(store.root)
    return user.program(*line[len(user.prefix) :])


READ = ("images", "check", "save -o {home}/saved.tar app:1")
READ_TOO = ("layers", "inspect app:1", "history app:1", "du", "check --quick", "find new", "mounts", "ps --all")
READ_TOO += ("volume ls", "gc --dry-run", "copy store:app:1 oci:{home}/layout", "backup {home}/backup")
CHANGE = ("export app:1", "run app:1 true")
CHANGE_TOO = ("tag app:1 b:1", "rm app:1", "gc", "exec one true", "load app:1", "import {home}/saved.tar")


def state_of(place):
    return sorted((one.lstat().st_mtime_ns, str(one)) for one in place.rglob("*"))


@pytest.mark.parametrize(
    ("reading", "changing"), [(READ, CHANGE), pytest.param(READ_TOO, CHANGE_TOO, marks=pytest.mark.long)]
)
def test_a_store_of_root_that_others_may_read(user, of_root, reading, changing):
    """Its lock cannot be taken; a copy of its graph is read."""
    opened_to_all(of_root)
    before = state_of(of_root.root)
    for text in reading:
        done = in_store(user, of_root, *text.format(home=user.home).split())
        assert done.returncode == 0, (text, done.stderr)
    # Owners are kept, as in the user's own store.
    assert in_store(user, of_root, "unpack", "app:1", str(user.home / "copy")).returncode == 0
    assert {one.lstat().st_uid for one in (user.home / "copy").rglob("*")} - {ordinary.UID}
    # The trees in it are not usable for the user, and cannot be built there.
    for text in changing:
        done = in_store(user, of_root, *text.format(home=user.home).split())
        (line,) = done.stderr.splitlines()
        assert done.returncode in {exit_status("PermissionDenied"), 125}, (text, line)
        assert "and this user may only read it" in line
        assert f"`--additional-store {of_root.root}`" in line
    assert state_of(of_root.root) == before


def test_a_store_of_root_that_others_may_not_read(user, of_root):
    for mode in (0o700, 0o755):
        of_root.root.chmod(mode)
        for words in (("images",), ("unpack", "app:1", str(user.home / "copy")), ("run", "app:1", "true")):
            done = in_store(user, of_root, *words)
            (line,) = done.stderr.splitlines()
            assert done.returncode in {exit_status("PermissionDenied"), 125}, (words, line)
            assert "belongs to " in line
    abilities = {
        one["action"]: one for one in json.loads(in_store(user, of_root, "info", "--json").stdout)["abilities"]
    }
    assert abilities["read the store's images"]["possible"] is False
    assert "this user may not read it" in abilities["read the store's images"]["why"]
