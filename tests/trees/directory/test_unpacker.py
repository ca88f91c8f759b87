"""Unpacking: equal to an overlay of the trees, to a model, and to umoci; and the result for an ordinary user."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support import images, treelist
from trees.spec_model import loops_alone
from trees.stacks import Layer, Model, NoSuchStackError, Stack, Step, shown, unpack

from arstore.errors import ConflictError, TarError, UnsafePathError

CAPABILITY = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
TARGETS = st.builds("{}{}".format, st.sampled_from(["", "/", "../", "../../"]), PATHS)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from("fffffddddddlllhpwwwoo"))
    mode = draw(st.sampled_from([0o644, 0o600, 0o755, 0o711]))
    mtime = draw(st.integers(1, 1 << 20))
    path = "" if kind in "do" and not draw(st.integers(0, 9)) else draw(PATHS)
    target = draw(PATHS) if kind == "h" else draw(TARGETS) if kind == "l" else ""
    return Step(kind, path, target, mode, mtime, draw(st.binary(max_size=2)) if kind == "f" else b"")


STACKS = st.lists(st.lists(steps(), max_size=7), min_size=2, max_size=4)


@pytest.mark.root
@pytest.mark.mounts
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(STACKS)
def test_overlay_unpacking_and_model_agree(stack: list[list[Step]]) -> None:
    model = Model()
    try:
        for layer in stack:
            model.apply(layer)
    except NoSuchStackError:
        assume(False)
    assume(not any(map(loops_alone, stack)))
    members = [[step.member() for step in layer] for layer in stack]
    place = Path(tempfile.mkdtemp(prefix="arstore-stack-"))
    try:
        with Stack(place) as trees:
            for layer in members:
                trees.add(layer)
            with trees.mounted() as mounted:
                overlay = shown(mounted)
        unpack(members, place / "unpacked")
        unpacked = shown(place / "unpacked")
        assert overlay == unpacked
        assert unpacked == model.shown()
    finally:
        shutil.rmtree(place)


RICH: list[Layer] = [
    [
        images.directory("./", 0o755, mtime_ns=1_000_000_007),
        images.directory("d", 0o2755, uid=5, gid=6, mtime_ns=123_456_789_012_345_678),
        images.file("d/f", b"content", 0o4755, uid=1, gid=2, mtime_ns=-5_500_000_000),
        images.file("d/capable", b"x", 0o755, xattrs={"security.capability": CAPABILITY}),
        images.hardlink("d/g", "d/f"),
        images.symlink("usr-lib", "d", uid=9),
        images.device("null", "c", 1, 3, 0o666),
        images.fifo("pipe", 0o600),
        images.directory("empty", 0o1777, xattrs={"user.note": b"\x00\xff"}),
        images.file("gone/a", b"1"),
        images.file("gone/b", b"2"),
        images.directory("opaque", 0o711, mtime_ns=44),
        images.file("opaque/hidden", b"3"),
        images.file(b"caf\xe9", b"4"),
        images.file("replaced-by-directory"),
        images.directory("replaced-by-file"),
        images.file("replaced-by-file/x/y"),
    ],
    [
        images.directory("./", 0o755, mtime_ns=1_000_000_008),
        images.file("usr-lib/through", b"link", mtime_ns=3),
        images.whiteout("gone"),
        images.directory("opaque", 0o712, mtime_ns=45),
        images.opaque("opaque"),
        images.file("opaque/new", b"5"),
        images.directory("replaced-by-directory", 0o700),
        images.file("replaced-by-directory/in", b"6"),
        images.file("replaced-by-file", b"7"),
        images.whiteout("usr-lib/capable"),
    ],
    [
        images.directory("./", 0o755, mtime_ns=1_000_000_009),
        images.file("gone/again", b"8"),
        images.hardlink("linked", "d/f"),
        images.file("d/f", b"the link keeps the old content"),
    ],
]


@pytest.mark.root
@pytest.mark.mounts
def test_a_rich_stack_is_the_same_both_ways(tmp_path: Path) -> None:
    place = tmp_path / "trees"
    place.mkdir()
    with Stack(place) as trees:
        for layer in RICH:
            trees.add(layer)
        report = unpack(RICH, tmp_path / "unpacked")
        with trees.mounted() as mounted:
            assert treelist.compare(mounted, tmp_path / "unpacked", ignore=["linked"]) == []
    assert report.is_exact
    assert report.layers == 3
    unpacked = tmp_path / "unpacked"
    assert (unpacked / "d/through").read_bytes() == b"link"
    assert (unpacked / "linked").read_bytes() == b"content"
    assert (unpacked / "linked").stat().st_ino == (unpacked / "d/g").stat().st_ino
    assert sorted(os.listdir(unpacked / "gone")) == ["again"]
    assert sorted(os.listdir(unpacked / "opaque")) == ["new"]


@pytest.mark.root
@pytest.mark.tools("umoci")
def test_umoci_unpacks_the_same(tmp_path: Path) -> None:
    layers = [images.layer(one) for one in RICH]
    layout = images.write_layout(tmp_path / "layout", images.image(*layers, names=("1",)))
    command = ["umoci", "unpack", "--image", f"{layout}:1", tmp_path / "bundle"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    unpack(RICH, tmp_path / "unpacked")
    theirs = treelist.listing(tmp_path / "bundle/rootfs")
    ours = treelist.listing(tmp_path / "unpacked")
    # umoci sets a directory without an entry to the present time, which changes its parent's time too.
    made_late = ("/: mtime", "/gone: mtime")
    different = [line for line in treelist.differences(ours, theirs) if not line.startswith(made_late)]
    assert not different, "\n".join(different)


def test_what_an_ordinary_user_gets(tmp_path: Path) -> None:
    layers = [[*RICH[0], images.directory("sealed", 0o500), images.file("sealed/f", b"s", 0o400)], *RICH[1:]]
    report = unpack([*layers, [images.file("sealed/g", b"t", 0o400)]], tmp_path / "u", privileged=False)
    unpacked = tmp_path / "u"
    assert not report.is_exact
    assert report.devices.paths == [b"null"]
    assert [path for path, _, _ in report.attributes.examples] == [b"d/capable"]
    assert b"d/f" in report.owners.paths
    assert not (unpacked / "null").exists()
    assert (unpacked / "sealed/g").read_bytes() == b"t"
    assert stat.S_IMODE((unpacked / "sealed").stat().st_mode) == 0o500
    assert stat.S_ISFIFO((unpacked / "pipe").stat().st_mode)
    assert (unpacked / "d/through").stat().st_mtime_ns == 3
    assert os.getxattr(unpacked / "empty", "user.note") == b"\x00\xff"


@pytest.mark.root
@pytest.mark.tools("setpriv")
def test_an_ordinary_user_gets_it_as_one(tmp_path: Path) -> None:
    place = Path(tempfile.mkdtemp(prefix="arstore-user-", dir="/tmp"))
    try:
        os.chown(place, 65534, 65534)
        here = Path(__file__).resolve().parents[3]
        user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable, "-c"]
        setting = f"import sys; sys.path[:0] = {[str(here), str(here / 'tests')]!r}; "
        module = "from trees.directory.test_unpacker import test_what_an_ordinary_user_gets as test; "
        if subprocess.run([*user, setting + module], capture_output=True, check=False, cwd=place).returncode:
            pytest.skip("other users cannot read the project or its interpreter")
        call = f"from pathlib import Path; test(Path({str(place)!r}))"
        done = subprocess.run([*user, setting + module + call], capture_output=True, text=True, check=False, cwd=place)
        assert done.returncode == 0, done.stderr
    finally:
        shutil.rmtree(place)


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "u").mkdir()
    (tmp_path / "u" / "mine").write_text("x")
    fd = os.open(tmp_path / "u", os.O_RDONLY)
    from arstore.trees.directory.unpacker import Unpacker

    try:
        with pytest.raises(ConflictError):
            Unpacker(fd, privileged=False)
    finally:
        os.close(fd)
    assert os.listdir(tmp_path / "u") == ["mine"]


def test_no_layers_at_all(tmp_path: Path) -> None:
    report = unpack([], tmp_path / "u", privileged=False)
    assert (report.layers, report.members) == (0, 0)
    assert stat.S_IMODE((tmp_path / "u").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("layers", "error"),
    [
        ([[images.hardlink("l", "nowhere")]], TarError),
        ([[images.file("f")], [images.hardlink("l", "nowhere")]], TarError),
        ([[images.directory("d")], [images.hardlink("l", "d")]], TarError),
        ([[images.symlink("a", "b"), images.symlink("b", "a")], [images.file("a/f")]], UnsafePathError),
        ([[images.file("f")], [images.symlink("./", "/etc")]], UnsafePathError),
    ],
)
def test_what_cannot_be_unpacked_leaves_no_staging(tmp_path: Path, layers: list[Layer], error: type[Exception]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error):
        unpack(layers, tmp_path / "u", privileged=False)
    assert not [name for name in os.listdir(tmp_path / "u") if name.startswith(".arstore")]
    assert len(os.listdir("/proc/self/fd")) == before


def test_symlinks_of_lower_layers_lead_nowhere_outside(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("untouched")
    up = "../" * 20
    layers = [
        [
            images.symlink("abs", str(victim)),
            images.symlink("up", up + str(victim)),
            images.symlink("f", f"{victim}/file"),
        ],
        [
            images.file("abs/file", b"changed"),
            images.whiteout("up/file"),
            images.opaque("up"),
            images.file("up/other", b"x"),
            images.hardlink("l", "f"),
            images.file("f", b"over the link"),
        ],
    ]
    unpack(layers, tmp_path / "u", privileged=False)
    assert os.listdir(victim) == ["file"]
    assert (victim / "file").read_text() == "untouched"
    assert (tmp_path / f"u{victim}/other").read_bytes() == b"x"
    assert os.readlink(tmp_path / "u" / "l") == f"{victim}/file"
