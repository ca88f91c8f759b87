"""The single file: built of the modules that this environment has, and used as on a strange host."""

from __future__ import annotations

import importlib.metadata
import io
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import budget, images, programs
from support.cli import REPOSITORY
from support.sharing import made_once

sys.path.insert(0, str(REPOSITORY / "tools"))
from bundling.single.build import assemble
from bundling.target import this_platform

TAG = "cp{}{}".format(*sys.version_info)
NOBODY = 65534


def modules():
    """The files of arstore and of what it needs, as they are installed here."""
    tree = {}
    for path in (REPOSITORY / "arstore").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            tree[str(path.relative_to(REPOSITORY))] = path.read_bytes()
    queue = ["click", "lmdb", "blake3", "zlib-ng", "isal", "backports.zstd"]
    if budget.long:
        # They are most of the file, and no start below imports them.
        queue += ["cryptography", "rich", "PyYAML"]
    seen = set()
    while queue:
        name = queue.pop().lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        queue += [re.match(r"[\w.-]+", one)[0] for one in found.requires or [] if "extra" not in one]
        for path in found.files or []:
            if not path.parts[0].startswith(("..", "/")) and path.suffix != ".pyc":
                tree[str(path)] = path.read_binary()
    return tree


FEW = {"arstore/__init__.py": b""}
"""Modules of a file that is refused before they are used."""


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    def make(path):
        path.write_bytes(assemble("0.1.0", this_platform(), {TAG: modules()}))

    return made_once(tmp_path_factory, "arstore.pyz", make).read_bytes()


class Single:
    """The file in a directory, and a cache directory for it."""

    def __init__(self, place, content):
        self.place = place
        self.file = place / "arstore.pyz"
        self.file.write_bytes(content)
        self.file.chmod(0o755)
        self.cache = place / "cache"

    def words(self, *arguments):
        return [str(self.file), *map(str, arguments)]

    def environment(self, **variables):
        known = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ARSTORE_PYTHON": sys.executable}
        store = {"ARSTORE_ROOT": f"{self.place}/store", "ARSTORE_RUNROOT": f"{self.place}/run"}
        given = {**known, **store, "ARSTORE_BUNDLE_CACHE": str(self.cache), **variables}
        return {name: value for name, value in given.items() if value}

    def run(self, *arguments, prefix=(), **variables):
        return subprocess.run(
            [*prefix, *self.words(*arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=self.environment(**variables),
            timeout=120,
        )

    def unpacked(self, cache=None):
        return sorted(path.name for path in (cache or self.cache).iterdir())


@pytest.fixture
def packed(tmp_path, content):
    """The file, which has not been started yet."""
    return Single(tmp_path, content)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory, content):
    """The cache directory after the first start."""

    def make(place):
        place.mkdir()
        made = Single(place, content)
        subprocess.run(made.words("--version"), env=made.environment(), check=True, capture_output=True)

    return made_once(tmp_path_factory, "unpacked", make) / "cache"


@pytest.fixture
def single(packed, unpacked):
    """The file, after its first start: the cache directory has its modules."""
    subprocess.run(["cp", "-a", unpacked, packed.cache], check=True)
    return packed


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "app.tar"
    members = [images.directory("etc"), images.file("etc/os-release", b"NAME=small\n")]
    images.write_oci_archive(path, images.image(images.layer(members), names=["app:1"]))
    return path


@dataclass(frozen=True)
class User:
    """An ordinary user with the file, in a directory that this user can reach."""

    number: int
    single: Single

    def run(self, **variables):
        number = self.number
        prefix = (programs.program("setpriv"), f"--reuid={number}", f"--regid={number}", "--clear-groups", "--")
        return self.single.run("--version", prefix=prefix, ARSTORE_BUNDLE_CACHE="", **variables)


@pytest.fixture
def user(content):
    # Not below tmp_path: pytest closes its directories to others, again at the start of every session.
    with tempfile.TemporaryDirectory(prefix="arstore-test-", dir="/var/tmp") as place:
        os.chmod(place, 0o755)
        number = 61_000 + os.getpid() % 1000
        yield User(number, Single(Path(place), content))
    shutil.rmtree(f"/var/tmp/arstore-bundle-{number}", ignore_errors=True)


def test_the_same_modules_give_the_same_bytes(content):
    assert assemble("0.1.0", this_platform(), {TAG: dict(reversed(modules().items()))}) == content


def test_what_versions_have_in_common_is_in_the_file_once():
    one = assemble("1", "linux-x86_64", {"cp311": {"a.py": b"same", "b.so": b"1"}, "cp312": {"a.py": b"same"}})
    with zipfile.ZipFile(io.BytesIO(one)) as outer, zipfile.ZipFile(outer.open("modules.zip")) as inner:
        assert inner.namelist() == ["all/a.py", "cp311/b.so"]


def test_a_start_unpacks_once(packed):
    done = packed.run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, "arstore 0.1.0\n", "")
    (name,) = packed.unpacked()
    assert name.endswith(TAG)
    before = {path: path.stat().st_mtime_ns for path in packed.cache.rglob("*")}
    assert packed.run("--version").stdout == "arstore 0.1.0\n"
    assert {path: path.stat().st_mtime_ns for path in packed.cache.rglob("*")} == before


def test_it_imports_and_checks(single, archive):
    done = single.run("import", archive)
    assert done.returncode == 0, done.stderr
    assert "app:1" in single.run("images").stdout
    assert single.run("check").returncode == 0
    assert single.run("unpack", "app:1", single.place / "rootfs").returncode == 0
    assert (single.place / "rootfs/etc/os-release").read_bytes() == b"NAME=small\n"


def test_errors_and_statuses_are_arstores(single):
    done = single.run("inspect", "none:1")
    assert done.returncode == 33
    assert done.stderr.startswith("arstore: ")


@pytest.mark.mounts
def test_it_mounts(single, archive):
    assert single.run("import", archive).returncode == 0
    mounted = single.run("mount", "app:1").stdout.strip()
    assert Path(mounted, "etc/os-release").read_bytes() == b"NAME=small\n"
    assert single.run("umount", "--all").returncode == 0


@pytest.mark.runtime
def test_it_loads_and_runs_a_pipeline(single, busybox):
    pipeline = single.place / "pipeline.tar.gz"
    subprocess.run([sys.executable, REPOSITORY / "tools/pipeline_image.py", pipeline], check=True)
    done = single.run("load", "-i", pipeline)
    assert done.returncode == 0, done.stderr
    assert "greeter:1" in single.run("images").stdout


def test_a_program_uses_the_library(single, archive):
    program = single.place / "program.py"
    program.write_text(
        "import sys, arstore\n"
        "with arstore.open(*sys.argv[1:3]) as store:\n"
        "    print(*store.import_image(sys.argv[3]).names)\n"
    )
    words = [sys.executable, program, single.place / "store", single.place / "run", archive]
    environment = single.environment(PYTHONPATH=str(single.file))
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "app:1\n", "")


def test_python_takes_it_as_an_argument(single):
    words = [sys.executable, single.file, "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=single.environment())
    assert done.stdout == "arstore 0.1.0\n"


def test_python_runs_the_package_in_it(packed):
    words = [sys.executable, "-W", "error", "-m", "arstore", "--version"]
    environment = packed.environment(PYTHONPATH=str(packed.file))
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "arstore 0.1.0\n", "")


def test_starts_at_the_same_time_leave_one_directory(packed):
    started = [
        subprocess.Popen(packed.words("--version"), env=packed.environment(), stdout=subprocess.PIPE) for _ in range(2)
    ]
    assert [one.communicate()[0] for one in started] == [b"arstore 0.1.0\n"] * 2
    assert len(packed.unpacked()) == 1


def test_what_killed_starts_left_is_removed_after_a_day(packed):
    for name, age in ((".new-old", 100_000), (".new-young", 100)):
        left = packed.cache / name
        left.mkdir(parents=True)
        then = left.stat().st_mtime - age
        os.utime(left, (then, then))
    packed.run("--version")
    assert [name for name in packed.unpacked() if name.startswith(".new-")] == [".new-young"]


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775])
def test_a_directory_that_others_can_write_to_is_not_used(packed, mode):
    packed.cache.mkdir()
    packed.cache.chmod(mode)
    done = packed.run("--version")
    assert done.returncode == 40
    assert "another user can write to it" in done.stderr
    assert done.stderr.count("\n") == 1
    assert packed.unpacked() == []


@pytest.mark.parametrize("which", ["cache", "unpacked"])
@pytest.mark.root
def test_another_users_modules_are_not_imported(single, which):
    """As when sudo keeps HOME, and root starts the file with a user's cache."""
    assert single.run("--version").returncode == 0
    (name,) = single.unpacked()
    os.chown(single.cache / name if which == "unpacked" else single.cache, NOBODY, NOBODY)
    done = single.run("--version")
    assert done.returncode == 40
    assert "another user can write to" in done.stderr


@pytest.mark.root
def test_root_does_not_use_a_users_home(packed):
    home = packed.place / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    done = packed.run("-c", prefix=(), HOME=str(home), XDG_CACHE_HOME="", ARSTORE_BUNDLE_CACHE="")
    assert done.returncode == 2
    assert list(home.iterdir()) == []


@pytest.mark.root
@pytest.mark.tools("setpriv")
def test_an_ordinary_user_has_a_cache(user):
    home = user.single.place / "home"
    home.mkdir()
    os.chown(home, user.number, user.number)
    done = user.run(HOME=str(home))
    assert (done.returncode, done.stdout, done.stderr) == (0, "arstore 0.1.0\n", "")
    assert stat.S_IMODE((home / ".cache").stat().st_mode) == 0o700
    assert len(user.single.unpacked(home / ".cache/arstore-bundle")) == 1


@pytest.mark.root
@pytest.mark.tools("setpriv")
@pytest.mark.parametrize("home", ["read-only", "missing", "relative"])
def test_without_a_home_the_modules_are_in_var_tmp(user, home):
    place = user.single.place / "home"
    if home == "read-only":
        place.mkdir()
    for _ in range(2):
        done = user.run(HOME="home" if home == "relative" else str(place))
        assert (done.returncode, done.stdout, done.stderr) == (0, "arstore 0.1.0\n", "")
    (unpacked,) = Path(f"/var/tmp/arstore-bundle-{user.number}").iterdir()
    files = [path for path in unpacked.rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & stat.S_ISVTX for path in files), "systemd-tmpfiles would remove it"


@pytest.mark.root
@pytest.mark.tools("unshare")
def test_a_place_without_execution_is_passed_over(single):
    script = 'mkdir -p "$1" && mount -t tmpfs -o noexec,mode=755 none "$1" && exec "$2" --version'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", single.cache, single.file]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=single.environment())
    assert done.returncode == 40
    assert "mounted with noexec" in done.stderr


def test_a_damaged_file_is_refused(packed, content):
    with zipfile.ZipFile(packed.file) as outer:
        offset = outer.getinfo("modules.zip").header_offset + 100_000
    packed.file.write_bytes(content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :])
    done = packed.run("--version")
    assert (done.returncode, done.stderr) == (40, f"arstore: {packed.file}: damaged; copy it again\n")
    assert packed.unpacked() == []


def test_a_python_without_modules_is_refused(tmp_path):
    other = "cp312" if TAG == "cp311" else "cp311"
    single = Single(tmp_path, assemble("0.1.0", this_platform(), {other: FEW}))
    done = single.run("--version", PATH="/nowhere")
    assert done.returncode == 40
    assert re.search(r"this is cpython 3\.\d+, and the file is for CPython 3\.1[12]; install", done.stderr)


def test_a_python_that_has_modules_is_found(single, tmp_path):
    """The first python3 on PATH is another version than the file is for."""
    names = [f"python3.{minor}" for minor in range(7, 16) if minor != sys.version_info[1]]
    found = [path for path in map(shutil.which, names) if path]
    others = [path for path in found if subprocess.run([path, "-c", ""], check=False).returncode == 0]
    if not others:
        pytest.skip("there is only one version of Python")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(others[0])
    this = tmp_path / "bin" / "python3.{}".format(*sys.version_info[1:])
    this.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    this.chmod(0o755)
    done = single.run("--version", PATH=f"{tmp_path}/bin", ARSTORE_PYTHON="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "arstore 0.1.0\n", "")


def test_a_file_for_another_machine_is_refused(tmp_path):
    name = "linux-aarch64" if platform.machine() != "aarch64" else "linux-x86_64"
    single = Single(tmp_path, assemble("0.1.0", name, {TAG: FEW}))
    done = single.run("--version")
    assert done.returncode == 40
    assert f"made for {name}, and this is " in done.stderr


def test_without_python_the_error_says_so(single):
    done = single.run("--version", PATH="/nowhere", ARSTORE_PYTHON="", prefix=("/bin/sh",))
    assert (done.returncode, done.stderr) == (40, f"arstore: python3: not found; install Python 3.{TAG[3:]}\n")
