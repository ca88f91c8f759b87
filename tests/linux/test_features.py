import errno
import os

import pytest
from support import features

from arstore.linux.isolation import namespace
from arstore.linux.mounting import mount
from arstore.linux.mounting.mountinfo import read_mounts

CLONE_NEWUSER = 0x10000000


def in_child(action):
    """Run *action* in a child process and return its output."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, str(action()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


def become_nobody():
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)


def answers(found):
    calls = [found.mount_api, found.lower_append, found.layers_by_fd, found.detached_clones]
    return [*calls, found.overlay, found.erofs_file]


def test_every_no_has_a_reason_and_nothing_is_left(tmp_path):
    found = features.probe(str(tmp_path))
    assert all(answer or answer.reason for answer in answers(found))
    assert list(tmp_path.iterdir()) == []
    assert not any(info.mount_point.startswith(str(tmp_path)) for info in read_mounts())


@pytest.mark.mounts
def test_where_mounts_work_the_answer_is_yes(tmp_path):
    assert features.overlay(str(tmp_path))
    assert features.overlay(str(tmp_path), writable=True)
    assert features.overlay(str(tmp_path), writable=True, userxattr=True)


@pytest.mark.mounts
def test_a_directory_with_colons_commas_and_a_long_name(tmp_path):
    place = tmp_path / "a:b,c\\d" / ("x" * 250) / ("y" * 250)
    place.mkdir(parents=True)
    assert features.overlay(str(place), writable=True)


@pytest.mark.mounts
def test_the_old_api_gives_the_same_answer(tmp_path, monkeypatch):
    def missing(_fs_type):
        raise OSError(errno.ENOSYS, "not implemented")

    monkeypatch.setattr(mount, "fsopen", missing)
    assert features.overlay(str(tmp_path), writable=True)
    assert not features.lower_append()
    assert not features.erofs_file(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
def test_an_ordinary_user_is_told_why():
    def action():
        become_nobody()
        found = features.probe("/tmp")
        return [bool(a) for a in answers(found)] + [found.overlay.reason]

    text = in_child(action)
    assert "may not mount" in text
    assert text.count("False") >= 4


@pytest.mark.mounts
def test_in_a_user_namespace_overlay_is_possible_and_erofs_is_not(tmp_path):
    tmp_path.chmod(0o755)

    def action():
        try:
            namespace.unshare(CLONE_NEWUSER | namespace.CLONE_NEWNS)
        except OSError:
            return "no user namespaces"
        for name, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        return [bool(features.overlay(str(tmp_path), userxattr=True)), bool(features.erofs_file(str(tmp_path)))]

    text = in_child(action)
    if text == "no user namespaces":
        pytest.skip("this host allows no user namespaces")
    assert text == "[True, False]"


def test_a_directory_that_is_missing_is_a_no():
    answer = features.overlay("/no/such/directory")
    assert not answer
    assert "no such file" in answer.reason


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENODEV, "no overlay file system"), (errno.EPERM, "may not mount"), (errno.EIO, "error")]
)
def test_reasons_are_words(monkeypatch, code, words):
    def refused(_fs_type):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(mount, "fsopen", refused)
    assert words in features.lower_append().reason
    assert words in features.layers_by_fd().reason


@pytest.mark.parametrize("raised", ["Unknown parameter 'lowerdir+'", None])
def test_kernels_without_lowerdir_append(monkeypatch, raised):
    """Linux 6.5 does not know the parameter; older kernels accept it without reading it."""

    def flag(_fd, _key):
        if raised:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(mount, "fsconfig_flag", flag)
    monkeypatch.setattr(mount, "messages", lambda _fd: [f"overlay: {raised}"])
    assert not features.takes_lower_append(-1)


def test_a_kernel_with_lowerdir_append(monkeypatch):
    def flag(_fd, _key):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(mount, "fsconfig_flag", flag)
    monkeypatch.setattr(mount, "messages", lambda _fd: ["overlay: Bad value for 'lowerdir+'"])
    assert features.takes_lower_append(-1)


@pytest.mark.parametrize(("code", "yes"), [(errno.EINVAL, True), (errno.ENOTBLK, False), (errno.ENODEV, False)])
def test_erofs_answers_by_the_kernels_errno(tmp_path, monkeypatch, code, yes):
    def create(_fd):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(mount, "fsopen", lambda _fs_type: os.open("/", os.O_PATH))
    monkeypatch.setattr(mount, "fsconfig_string", lambda *_: None)
    monkeypatch.setattr(mount, "fsconfig_create", create)
    answer = features.erofs_file(str(tmp_path))
    assert bool(answer) is yes
    assert bool(answer.reason) is not yes
