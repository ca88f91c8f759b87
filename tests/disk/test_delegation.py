"""Where an ordinary user's control groups can be made."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from arstore.disk import delegation
from arstore.disk.cgroups import cgroups_path, delegated, settle_parent
from arstore.disk.delegation import PARENT, controllers_file, parent_group, why_none

NOBODY = 65534
OWN = "0::/user.slice/app.slice/run-1.scope\n"


@pytest.fixture
def partial(monkeypatch):
    monkeypatch.setattr(delegation.user_namespace, "is_initial", lambda: False)


@pytest.fixture
def open_place():
    """A directory that other users can look into."""
    with tempfile.TemporaryDirectory(prefix="arstore-delegation-", dir="/var/tmp") as place:
        os.chmod(place, 0o755)
        yield Path(place)


@pytest.fixture
def unified(open_place):
    """A hierarchy of version 2 in which the group above this process's own can be written to."""
    tmp_path = open_place
    above = tmp_path / "cgroup/user.slice/app.slice"
    (above / "run-1.scope").mkdir(parents=True)
    (tmp_path / "cgroup/cgroup.controllers").write_text("cpu memory pids\n")
    (above / "cgroup.procs").touch()
    (above / "cgroup.controllers").write_text("memory pids\n")
    (above / "cgroup.subtree_control").write_text("pids\n")
    (tmp_path / "own").write_text(f"1:name=systemd:/x\n{OWN}")
    return tmp_path


def parent_of(place, own="own"):
    return parent_group(str(place / "cgroup"), str(place / own))


def as_nobody(work):
    """Return whether *work* is true for a user who owns nothing here."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os._exit(0 if work() else 1)
    return os.waitpid(child, 0)[1] == 0


def test_root_uses_its_own_place(unified):
    assert parent_of(unified) == PARENT


def test_the_group_above_is_used(partial, unified):
    parent = parent_of(unified)
    assert parent == "/user.slice/app.slice/arstore"
    root = str(unified / "cgroup")
    assert controllers_file(parent, root) == f"{root}/user.slice/app.slice/cgroup.controllers"
    # A group that has processes limits only what it limits already.
    (unified / "cgroup/user.slice/app.slice/cgroup.procs").write_text("1\n")
    assert controllers_file(parent, root) == f"{root}/user.slice/app.slice/cgroup.subtree_control"


@pytest.mark.parametrize("text", ["", "0::/../outside\n", "3:memory:/x\n"])
def test_without_a_group_of_version_2_there_is_no_place(partial, unified, text):
    (unified / "own").write_text(text)
    assert parent_of(unified) is None


@pytest.mark.root
def test_a_group_of_another_user_is_not_used(partial, unified):
    assert as_nobody(lambda: parent_of(unified) is None)


@pytest.mark.root
def test_version_1_is_for_root_alone(partial, unified):
    old = unified / "old"
    (old / "memory").mkdir(parents=True)
    assert parent_group(str(old)) == PARENT  # as root of a container that has its own hierarchies
    assert as_nobody(lambda: parent_group(str(old)) is None and delegated(str(old)) == frozenset())
    assert "version 1" in why_none(str(old))[0]


@pytest.mark.root
def test_a_user_outside_of_a_namespace_has_the_same_places(unified):
    """`pause`, `stats` and `info` do not enter one, and must say the same as `run`, which does."""
    assert as_nobody(lambda: parent_of(unified) is None)
    os.chmod(unified / "cgroup/user.slice/app.slice", 0o777)
    os.chmod(unified / "cgroup/user.slice/app.slice/cgroup.procs", 0o666)
    assert as_nobody(lambda: parent_of(unified) == "/user.slice/app.slice/arstore")


def test_the_place_is_recorded_with_the_container(partial, unified, monkeypatch):
    container = unified / "container"
    container.mkdir()
    monkeypatch.setattr("arstore.disk.cgroups.parent_group", lambda: "/delegated/arstore")
    settle_parent(str(container))
    assert cgroups_path(str(container)).startswith("/delegated/arstore/container-")
    settle_parent(str(container), "/asked")
    assert cgroups_path(str(container)).startswith("/asked/container-")
    monkeypatch.setattr("arstore.disk.cgroups.parent_group", lambda: None)
    settle_parent(str(container))
    assert cgroups_path(str(container)).startswith("/arstore/container-")
