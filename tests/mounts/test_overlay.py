import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import features

from arstore.errors import MountError, MountForbiddenError, NoSpaceError
from arstore.linux.isolation import namespace
from arstore.linux.mounting import mount
from arstore.linux.mounting.mountinfo import mount_at, read_mounts
from arstore.mounts import overlay as overlays
from arstore.mounts.overlay import MAX_LOWERS, Method, Overlay, attach, detached, perform
from arstore.trees.format import LowerDirectory

pytestmark = pytest.mark.mounts

BOTH = pytest.mark.parametrize("method", [Method.LAYERS, Method.PAGE])
EVERY = pytest.mark.parametrize("method", list(Method))

CLONE_NEWUSER = 0x10000000


@pytest.fixture
def opened():
    """A function that opens a directory as a lower; all are closed in the end."""
    fds = []

    def open_lower(path, path_given=None):
        fds.append(os.open(path, os.O_PATH | os.O_DIRECTORY))
        return LowerDirectory(fds[-1], str(path) if path_given is None else path_given)

    yield open_lower
    for fd in fds:
        os.close(fd)


@pytest.fixture
def stack(tmp_path, opened):
    """A function that makes N layers, top first: layer I has `only-I`, and `same` with I in it."""

    def make(count):
        lowers = []
        for i in range(count):
            path = tmp_path / "layers" / str(i)
            path.mkdir(parents=True)
            (path / f"only-{i}").write_text(str(i))
            (path / "same").write_text(str(i))
            lowers.append(opened(path))
        return tuple(lowers)

    return make


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target"
    path.mkdir()
    return str(path)


@pytest.fixture
def writable(tmp_path):
    """An upper and a work directory."""
    places = []
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
        places.append(str(tmp_path / name))
    return places


def shown(target):
    return {name: Path(target, name).read_text() for name in os.listdir(target)}


def descriptors():
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("count", [2, 5, 101, 500])
def test_both_methods_show_the_same(stack, target, count):
    lowers = stack(count)
    sampled = ["same", "only-0", f"only-{count // 2}", f"only-{count - 1}"]
    before = descriptors()
    views = []
    for method in (Method.LAYERS, Method.PAGE):
        perform(Overlay(lowers), target, method)
        # Reading every file would look up each of them in all the layers above it.
        views.append((sorted(os.listdir(target)), [Path(target, name).read_text() for name in sampled]))
        mount.umount(target)
    assert views[0] == views[1]
    assert views[0][0] == sorted(["same", *(f"only-{i}" for i in range(count))])
    assert views[0][1] == ["0", "0", str(count // 2), str(count - 1)]
    assert descriptors() == before


@EVERY
def test_one_lower_and_an_upper(stack, target, writable, method):
    perform(Overlay(stack(1), *writable), target, method)
    try:
        Path(target, "same").write_text("changed")
        Path(target, "new").write_text("n")
        assert shown(target) == {"same": "changed", "new": "n", "only-0": "0"}
        assert not mount_at(target).read_only
    finally:
        mount.umount(target)
    assert Path(writable[0], "same").read_text() == "changed"


@EVERY
def test_without_an_upper_it_is_read_only(stack, target, method):
    perform(Overlay(stack(2)), target, method)
    try:
        with pytest.raises(OSError, match="Read-only") as caught:
            Path(target, "x").touch()
        assert caught.value.errno == errno.EROFS
        assert mount_at(target).read_only
    finally:
        mount.umount(target)


@BOTH
def test_source_flags_and_options_are_in_the_kernels_table(stack, target, writable, method):
    perform(Overlay(stack(1), *writable, nodev=True, nosuid=True, source="arstore:0f"), target, method)
    try:
        info = mount_at(target)
        assert (info.fs_type, info.source) == ("overlay", "arstore:0f")
        assert {"nodev", "nosuid"} <= set(info.options.split(","))
        options = info.super_options.split(",")
        assert "redirect_dir=nofollow" in options
        assert not any(o.startswith(("metacopy=on", "index=on", "volatile", "userxattr")) for o in options)
    finally:
        mount.umount(target)


@BOTH
def test_whiteouts_and_opaque_directories_count(tmp_path, opened, target, method):
    bottom, top = tmp_path / "bottom", tmp_path / "top"
    for path in (bottom / "d", top / "d"):
        path.mkdir(parents=True)
    (bottom / "gone").touch()
    (bottom / "d" / "hidden").touch()
    os.mknod(top / "gone", 0o20000, os.makedev(0, 0))
    os.setxattr(top / "d", "trusted.overlay.opaque", b"y")
    perform(Overlay((opened(top), opened(bottom))), target, method)
    try:
        assert os.listdir(target) == ["d"]
        assert os.listdir(Path(target, "d")) == []
    finally:
        mount.umount(target)


@BOTH
def test_metacopy_and_redirects_in_a_layer_are_not_followed(tmp_path, opened, target, method):
    """A layer that names another layer's file by xattr must not be followed, whatever the kernel's default is."""
    bottom, top = tmp_path / "bottom", tmp_path / "top"
    (bottom / "secret").mkdir(parents=True)
    (bottom / "secret" / "key").write_text("secret")
    (top / "public").mkdir(parents=True)
    os.setxattr(top / "public", "trusted.overlay.redirect", b"/secret")
    perform(Overlay((opened(top), opened(bottom))), target, method)
    try:
        with pytest.raises(OSError, match=r"Operation not permitted|No such file"):
            Path(target, "public", "key").read_text()
    finally:
        mount.umount(target)


@BOTH
@pytest.mark.parametrize("name", ["colon:comma,back\\slash", "two words\n", "流水线", "x" * 255])
def test_names_need_no_escape(tmp_path, opened, method, name):
    """With the last name, every path is longer than fsconfig accepts as a string."""
    place = tmp_path / name / name
    for part in ("0", "1", "upper", "work", "target"):
        (place / part).mkdir(parents=True)
    (place / "0" / "file").write_text("0")
    description = Overlay((opened(place / "0"), opened(place / "1")), str(place / "upper"), str(place / "work"))
    perform(description, str(place / "target"), method)
    try:
        assert shown(place / "target") == {"file": "0"}
    finally:
        mount.umount(str(place / "target"))


@pytest.mark.parametrize("name", ["short", "x" * 255])
@pytest.mark.parametrize("code", [errno.EINVAL, errno.EBADF])
def test_kernels_that_take_no_descriptors_get_paths(tmp_path, opened, target, monkeypatch, name, code):
    def refused(*_arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(mount, "fsconfig_fd", refused)
    place = tmp_path / name
    for part in ("0", "1", "upper", "work"):
        (place / part).mkdir(parents=True)
    (place / "1" / "file").write_text("1")
    description = Overlay((opened(place / "0"), opened(place / "1")), str(place / "upper"), str(place / "work"))
    perform(description, target, Method.LAYERS)
    try:
        assert shown(target) == {"file": "1"}
    finally:
        mount.umount(target)


def test_a_layer_is_what_was_opened_whatever_its_path_leads_to_now(tmp_path, opened, target):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    first, second = opened(tmp_path / "a"), opened(tmp_path / "b")
    (tmp_path / "a").rename(tmp_path / "moved")
    (tmp_path / "a").symlink_to("/etc")
    perform(Overlay((first, second)), target)
    try:
        assert shown(target) == {"file": "a"}
    finally:
        mount.umount(target)


@BOTH
def test_a_detached_mount_is_a_layer(stack, opened, target, method):
    lowers = stack(4)
    inner_fd = detached(Overlay(lowers[1:3]))
    try:
        assert sorted(os.listdir(f"/proc/self/fd/{inner_fd}")) == ["only-1", "only-2", "same"]
        perform(Overlay((lowers[0], LowerDirectory(inner_fd, ""), lowers[3])), target, method)
    finally:
        os.close(inner_fd)
    try:
        assert shown(target) == {"same": "0", "only-0": "0", "only-1": "1", "only-2": "2", "only-3": "3"}
    finally:
        mount.umount(target)


@pytest.mark.tools("mkfs.erofs")
def test_an_erofs_image_is_a_layer_by_its_descriptor_alone(tmp_path, stack, target):
    lowers = stack(2)
    image = str(tmp_path / "image")
    (tmp_path / "files" / "d").mkdir(parents=True)
    (tmp_path / "files" / "d" / "inside").write_text("erofs")
    subprocess.run(["mkfs.erofs", "--quiet", image, str(tmp_path / "files")], check=True, capture_output=True)
    if not (answer := features.erofs_file(str(tmp_path))):
        pytest.skip(answer.reason)
    fs_fd = mount.fsopen("erofs")
    mount.fsconfig_string(fs_fd, "source", image)
    mount.fsconfig_flag(fs_fd, "ro")
    mount.fsconfig_create(fs_fd)
    layer_fd = mount.fsmount(fs_fd, mount.MOUNT_ATTR_RDONLY)
    os.close(fs_fd)
    perform(Overlay((LowerDirectory(layer_fd, ""), *lowers)), target)
    os.close(layer_fd)
    try:
        assert Path(target, "d", "inside").read_text() == "erofs"
        assert Path(target, "same").read_text() == "0"
        assert not any(info.fs_type == "erofs" and str(tmp_path) in info.source for info in read_mounts())
    finally:
        mount.umount(target)


def test_a_detached_overlay_is_seen_by_nobody_and_ends_with_its_descriptor(stack):
    lowers = stack(2)
    open_before = descriptors()
    fd = detached(Overlay(lowers, source="arstore:unseen"))
    assert not os.get_inheritable(fd)
    assert not any(info.source == "arstore:unseen" for info in read_mounts())
    os.close(fd)
    assert descriptors() == open_before


@EVERY
def test_a_relative_target(stack, target, monkeypatch, method):
    lowers = stack(2)
    monkeypatch.chdir(os.path.dirname(target))
    perform(Overlay(lowers), "target", method)
    assert mount_at(target).fs_type == "overlay"
    mount.umount(target)
    assert os.getcwd() == os.path.dirname(target)


@EVERY
def test_more_layers_than_the_kernel_takes(stack, target, method):
    lowers = stack(1) * (MAX_LOWERS + 1)
    with pytest.raises(MountError, match="501 layers; overlayfs takes at most 500"):
        perform(Overlay(lowers), target, method)


@EVERY
def test_too_few_directories(stack, target, method):
    with pytest.raises(MountError, match="needs two lower layers"):
        perform(Overlay(stack(1)), target, method)
    with pytest.raises(MountError, match="needs two lower layers"):
        perform(Overlay(()), target, method)


@EVERY
def test_a_layer_that_stands_twice(stack, target, method):
    lowers = stack(2)
    with pytest.raises(MountError, match="in the stack twice"):
        perform(Overlay((*lowers, lowers[0])), target, method)
    assert mount_at(target) is None


@EVERY
def test_missing_places_are_plain_os_errors(stack, tmp_path, target, writable, method):
    lowers = stack(2)
    before = descriptors()
    with pytest.raises(FileNotFoundError) as caught:
        perform(Overlay(lowers), str(tmp_path / "none"), method)
    assert caught.value.filename == str(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        perform(Overlay(lowers, str(tmp_path / "none"), writable[1]), target, method)
    with pytest.raises(NotADirectoryError):
        perform(Overlay(lowers), str(tmp_path / "layers" / "0" / "same"), method)
    assert descriptors() == before


@EVERY
def test_an_upper_and_a_work_directory_that_do_not_fit(stack, tmp_path, target, writable, method):
    upper, _ = writable
    (Path(upper) / "inside").mkdir()
    lowers = stack(1)
    with pytest.raises(MountError, match="inside its upper"):
        perform(Overlay(lowers, upper, upper + "/inside"), target, method)
    other = tmp_path / "other"
    other.mkdir()
    mount.mount("other", str(other), "tmpfs")
    try:
        with pytest.raises(MountError, match="different file systems"):
            perform(Overlay(lowers, upper, str(other)), target, method)
    finally:
        mount.umount(str(other), mount.MNT_DETACH)


@EVERY
def test_a_volatile_upper_is_refused_until_it_is_cleaned(stack, target, writable, method):
    lowers = stack(1)
    perform(Overlay(lowers, *writable, volatile=True), target, method)
    assert "volatile" in mount_at(target).super_options
    mount.umount(target)
    with pytest.raises(MountError, match="volatile"):
        perform(Overlay(lowers, *writable), target, method)
    shutil.rmtree(Path(writable[1], "work", "incompat"))
    perform(Overlay(lowers, *writable), target, method)
    mount.umount(target)


def test_the_kernels_own_words_are_in_the_error(stack, target, monkeypatch):
    real = mount.fsconfig_string

    def wrong(fs_fd, key, value):
        real(fs_fd, "metacoppy" if key == "metacopy" else key, value)

    monkeypatch.setattr(mount, "fsconfig_string", wrong)
    with pytest.raises(MountError, match=r"invalid argument: overlay: Unknown parameter 'metacoppy'") as caught:
        perform(Overlay(stack(2)), target, Method.LAYERS)
    assert caught.value.what == target
    assert caught.value.hint == ""


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_without_the_new_calls_mount_2_is_used(stack, target, monkeypatch, code):
    def missing(_fs_type):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(mount, "fsopen", missing)
    lowers = stack(2)
    perform(Overlay(lowers), target)
    try:
        assert f"lowerdir={lowers[0].fd}:{lowers[1].fd}" in mount_at(target).super_options
    finally:
        mount.umount(target)
    with pytest.raises(MountError):
        perform(Overlay(lowers), target, Method.LAYERS)


def test_without_lowerdir_append_mount_2_is_used(stack, target, monkeypatch):
    monkeypatch.setattr("arstore.linux.features.takes_lower_append", lambda _fd: False)
    lowers = stack(2)
    before = descriptors()
    perform(Overlay(lowers), target)
    assert "lowerdir+" not in mount_at(target).super_options
    mount.umount(target)
    with pytest.raises(MountError, match=r"Linux 6\.7"):
        detached(Overlay(lowers), "image")
    assert descriptors() == before


def test_a_kernel_without_overlay(stack, target, monkeypatch):
    def missing(*_arguments):
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(mount, "fsopen", missing)
    with pytest.raises(MountError, match="no overlay file system"):
        perform(Overlay(stack(2)), target)


def in_child(action):
    """Run *action* in a child process; return its result or its error as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, repr(action()).encode())
        except BaseException as error:  # the test checks it
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


@EVERY
def test_an_ordinary_user_is_shown_the_way_to_unpack(stack, target, method):
    lowers = stack(2)
    before = descriptors()
    os.chdir(target)
    try:

        def action():
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)
            return perform(Overlay(lowers), ".", method)

        text = in_child(action)
    finally:
        os.chdir("/")
    assert text.startswith("MountForbiddenError: .: this process may not mount")
    assert "`arstore unpack IMAGE DIR`" in text
    assert MountForbiddenError.exit_code == 44
    assert descriptors() == before


@BOTH
def test_in_a_user_namespace(stack, target, writable, method):
    lowers = stack(2)

    def action():
        try:
            namespace.unshare(CLONE_NEWUSER | namespace.CLONE_NEWNS)
        except OSError:
            return "none"
        for name, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
            Path(f"/proc/self/{name}").write_text(text)
        here = tuple(LowerDirectory(os.open(lower.path, os.O_PATH), lower.path) for lower in lowers)
        perform(Overlay(here, *writable, userxattr=True), target, method)
        Path(target, "new").touch()
        return sorted(os.listdir(target))

    text = in_child(action)
    if text == "'none'":
        pytest.skip("this host allows no user namespaces")
    assert text == repr(["new", "only-0", "only-1", "same"])
    assert Path(writable[0], "new").exists()
    assert mount_at(target) is None


@EVERY
def test_layers_of_another_mount_namespace_are_named_as_the_fault(stack, target, method):
    lowers = stack(2)

    def action():
        namespace.unshare(namespace.CLONE_NEWNS)
        mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
        perform(Overlay(lowers), target, method)

    assert "opened in another mount namespace" in in_child(action)


def test_a_detached_overlay_goes_into_a_namespace_entered_since(stack, target):
    fd = detached(Overlay(stack(2)))

    def action():
        namespace.unshare(namespace.CLONE_NEWNS)
        mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
        attach(fd, target)
        return sorted(os.listdir(target))

    assert in_child(action) == repr(["only-0", "only-1", "same"])
    assert mount_at(target) is None
    os.close(fd)


def test_what_is_no_mount_cannot_be_attached(stack, target):
    with pytest.raises(MountError, match="invalid argument"):
        attach(stack(1)[0].fd, target)
    with pytest.raises(FileNotFoundError):
        attach(0, target + "/none")


@EVERY
def test_a_private_mount_namespace_takes_layers_opened_in_it(stack, target, method):
    lowers = stack(2)

    def action():
        namespace.unshare(namespace.CLONE_NEWNS)
        mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
        here = tuple(LowerDirectory(os.open(lower.path, os.O_PATH), lower.path) for lower in lowers)
        perform(Overlay(here), target, method)
        return sorted(os.listdir(target))

    assert in_child(action) == repr(["only-0", "only-1", "same"])
    assert mount_at(target) is None


def test_a_work_directory_without_room_is_a_full_disk(tmp_path):
    full = Overlay((), str(tmp_path / "upper"), str(tmp_path / "work"))
    error = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(NoSpaceError, match="work"):
        overlays._refuse(full, "target", error)
    with pytest.raises(MountError):
        overlays._refuse(Overlay(()), "target", error)
