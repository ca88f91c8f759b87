"""`cp` on a real runtime: which name a copy gets, owners and modes, and containers in every state."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import time

import pytest


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("a", "b"), 2),
        (("-", "-"), 2),
        ((":/x", "."), 2),
        (("c:", "."), 2),
        (("c:/x", "."), 3),
        (("x", "c:/"), 3),
        (("./c:x", "other"), 2),
        (("-a", "--no-archive", "x", "c:/"), 2),
        (("x",), 2),
    ],
)
def test_without_a_container(arstore, words, status):
    result = arstore("cp", *words)
    assert result.status == status
    assert len(result.err.splitlines()) == 1


@pytest.fixture
def full(box, tmp_path):
    """The store with a container in each state, with a volume; and a directory with files to copy."""
    (tmp_path / "vol").mkdir()
    (tmp_path / "vol/in").write_text("volume")
    script = "echo one > /f; /bin/busybox mkdir -p /d/e; echo two > /d/g; /bin/busybox ln -s g /d/l; exec sleep 1000"
    words = ("-v", f"{tmp_path}/vol:/vol", "-v", f"{tmp_path}/vol:/fixed:ro", "box:1", "sh", "-c", script)
    box.ok("run", "-d", "--name", "running", *words)
    box.ok("run", "-d", "--name", "stopped", *words)
    box.ok("create", "--name", "created", *words)
    for name in ("running", "stopped"):
        deadline = time.monotonic() + 30
        while box("cp", f"{name}:/d/l", "-").status and time.monotonic() < deadline:
            time.sleep(0.1)
    box.ok("stop", "-t", "0", "stopped")
    source = tmp_path / "src"
    (source / "sub").mkdir(parents=True)
    (source / "a").write_text("a")
    (source / "a").chmod(0o640)
    os.utime(source / "a", ns=(5, 1_000_000_000_123_456_789))
    (source / "sub/b").symlink_to("../a")
    os.link(source / "a", source / "hard")
    yield box
    for one in box.ok("ps", "-a", "--json").json:
        box.ok("container", "rm", "-f", "-t", "0", one["id"])


def content(box, name, path):
    """The members of a tar of *path*, with their contents."""
    with tarfile.open(fileobj=io.BytesIO(box.ok("cp", f"{name}:{path}", "-").out)) as archive:
        return {one.name: archive.extractfile(one).read() if one.isfile() else one.type for one in archive}


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
class TestCopies:
    @pytest.mark.parametrize("name", ["running", "stopped"])
    def test_out(self, full, tmp_path, name):
        out = tmp_path / "out"
        out.mkdir()
        full.ok("cp", f"{name}:/f", out)
        full.ok("cp", f"{name}:f", out / "new")
        assert [(out / one).read_text() for one in ("f", "new")] == ["one\n", "one\n"]
        full.ok("cp", f"{name}:/d", out)
        full.ok("cp", f"{name}:/d", out / "other")
        full.ok("cp", f"{name}:/d/.", out / "third")
        for one in ("d", "other", "third"):
            assert sorted(os.listdir(out / one)) == ["e", "g", "l"]
            assert os.readlink(out / one / "l") == "g"
        full.ok("cp", f"{name}:/d/l", out / "followed")
        assert (out / "followed").read_text() == "two\n"
        full.ok("cp", f"{name}:/vol/in", out)
        assert (out / "in").read_text() == "volume"
        for words, status in (
            ((f"{name}:/no", out), 3),
            ((f"{name}:/f/", out), 3),
            ((f"{name}:/f", f"{out}/no/x"), 3),
            ((f"{name}:/f", f"{out}/no/"), 3),
            ((f"{name}:/d", out / "f"), 6),
            ((f"{name}:/f", f"{out}/f/"), 3),
        ):
            assert full("cp", *words).status == status, words

    @pytest.mark.parametrize("name", ["running", "stopped", "created"])
    def test_in(self, full, tmp_path, name):
        source = tmp_path / "src"
        full.ok("cp", source, f"{name}:/copy")
        found = {"copy": b"5", "copy/a": b"a", "copy/hard": None, "copy/sub": b"5", "copy/sub/b": b"2"}
        given = content(full, name, "/copy")
        assert given.keys() == found.keys()
        full.ok("cp", source, f"{name}:/copy")
        assert "copy/src/sub/b" in content(full, name, "/copy")
        full.ok("cp", f"{source}/.", f"{name}:/tmp")
        assert "tmp/sub/b" in content(full, name, "/tmp")
        full.ok("cp", source / "a", f"{name}:/etc/passwd")
        assert content(full, name, "/etc/passwd") == {"passwd": b"a"}
        full.ok("cp", source / "a", f"{name}:/vol/came")
        assert (tmp_path / "vol/came").read_text() == "a"
        assert full("cp", source / "a", f"{name}:/fixed/came2").status != 0
        assert not (tmp_path / "vol/came2").exists()
        assert full("cp", source, f"{name}:/etc/passwd").status == 6

    def test_owners_and_modes(self, full, tmp_path):
        source = tmp_path / "src/a"
        os.chown(source, 12, 34)
        source.chmod(0o4755)
        full.ok("cp", source, "running:/t1")
        full.ok("cp", "--no-archive", source, "running:/t2")
        told = full.ok("exec", "running", "/bin/busybox", "stat", "-c", "%a %u:%g %Y", "/t1", "/t2").text.splitlines()
        assert told == ["4755 0:0 1000000000", "4755 12:34 1000000000"]
        full.ok("cp", "running:/t2", tmp_path / "back")
        about = (tmp_path / "back").stat()
        assert (stat.S_IMODE(about.st_mode), about.st_uid, about.st_gid) == (0o755, os.getuid(), os.getgid())
        full.ok("cp", "running:/t2", "stopped:/t3")
        with tarfile.open(fileobj=io.BytesIO(full.ok("cp", "stopped:/t3", "-").out)) as archive:
            (one,) = archive
            assert (one.mode, one.uid, one.gid, one.mtime) == (0o4755, 12, 34, 1_000_000_000.123456789)

    def test_the_users_files(self, full, tmp_path):
        full.ok("create", "--name", "users", "-u", "user", "box:1", "true")
        full.ok("cp", tmp_path / "src", "users:/home")
        with tarfile.open(fileobj=io.BytesIO(full.ok("cp", "users:/home", "-").out)) as archive:
            assert {(one.uid, one.gid) for one in archive} == {(7, 8)}

    def test_tars(self, full, monkeypatch):
        def unpacked(data, target):
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
            return full("cp", "-", target).status

        data = made_tar({"x/y": b"1", "lib": b"2"})
        for name in ("running", "stopped"):
            assert unpacked(gzip.compress(data), f"{name}:/tmp") == 0
            assert content(full, name, "/tmp/x") == {"x": b"5", "x/y": b"1"}
            assert unpacked(data, f"{name}:/none") == 3
            assert unpacked(data, f"{name}:/f") == 6
            assert unpacked(b"rubbish", f"{name}:/tmp") not in {0, 1}
            assert unpacked(made_tar({"../x": b""}), f"{name}:/tmp") not in {0, 1}

    def test_directories_and_files_replace_each_other_on_request(self, full, tmp_path):
        out = tmp_path / "out"
        (out / "d").mkdir(parents=True)
        (out / "d/e").write_text("file")
        assert full("cp", "running:/d", out).status == 6
        full.ok("cp", "--overwrite", "running:/d", out)
        assert (out / "d/e").is_dir()
        (out / "f/x").mkdir(parents=True)
        assert full("cp", "running:/f", out).status == 6
        full.ok("cp", "--overwrite", "running:/f", out)
        assert (out / "f").read_text() == "one\n"

    def test_mount_points_are_never_replaced(self, full, tmp_path):
        full.ok("cp", tmp_path / "src/a", "running:/etc/hostname")
        assert full.ok("exec", "running", "cat", "/etc/hostname").text == "a"
        (tmp_path / "vol2").write_text("x")
        result = full("cp", "--overwrite", tmp_path / "vol2", "running:/vol")
        assert result.status == 0  # into the directory
        (tmp_path / "up/vol").parent.mkdir()
        (tmp_path / "up/vol").write_text("file")
        assert full("cp", "--overwrite", f"{tmp_path}/up/.", "running:/").status == 6
        assert (tmp_path / "vol/in").read_text() == "volume"
        assert full.ok("exec", "running", "cat", "/vol/in").text == "volume"

    def test_symlinks_to_directories_in_a_container_are_directories(self, full, tmp_path):
        full.ok("exec", "running", "/bin/busybox", "ln", "-s", "/d", "/way")
        (tmp_path / "up/way").mkdir(parents=True)
        (tmp_path / "up/way/n").write_text("n")
        full.ok("cp", f"{tmp_path}/up/.", "running:/")
        assert full.ok("exec", "running", "cat", "/d/n").text == "n"

    def test_special_files_holes_and_kernel_files(self, full, tmp_path):
        script = "mkfifo /d/fifo; truncate -s 1G /d/holes; mknod /d/dev c 1 3"
        full.ok("exec", "running", "/bin/busybox", "sh", "-c", f"/bin/busybox --install -s /bin; {script}")
        result = full("cp", "running:/d", tmp_path / "d")
        assert result.status == 0
        assert "dev" in result.err
        assert stat.S_ISFIFO((tmp_path / "d/fifo").stat().st_mode)
        assert not (tmp_path / "d/dev").exists()
        about = (tmp_path / "d/holes").stat()
        assert (about.st_size, about.st_blocks) == (1 << 30, 0)
        assert full("cp", "running:/dev/null", tmp_path / "null").status == 1
        full.ok("cp", "running:/proc/version", tmp_path / "version")
        assert (tmp_path / "version").read_text().startswith("Linux")
        full.ok("cp", "running:/", tmp_path / "all")
        assert os.listdir(tmp_path / "all/proc") == []
        assert full("cp", "running:/proc/self/exe", tmp_path / "exe").status == 3
        assert content(full, "running", "/proc/version")["version"].startswith(b"Linux")

    def test_a_mounted_container_is_refused(self, full, tmp_path):
        full.ok("mount", "stopped", tmp_path / "vol")
        assert full("cp", "stopped:/f", tmp_path / "f").status == 7
        full.ok("umount", "stopped")

    def test_a_paused_container(self, full, tmp_path):
        full.ok("pause", "running")
        full.ok("cp", "running:/f", tmp_path / "f")
        full.ok("unpause", "running")

    def test_nothing_stays_mounted(self, full, tmp_path):
        full.ok("cp", "stopped:/f", tmp_path / "f")
        with open("/proc/self/mountinfo") as table:
            assert str(full.root) not in table.read()
        full.ok("start", "stopped")


def made_tar(files):
    """A tar of these files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, text in files.items():
            one = tarfile.TarInfo(name)
            one.size = len(text)
            archive.addfile(one, io.BytesIO(text))
    return data.getvalue()
