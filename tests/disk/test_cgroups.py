import os

import pytest

from arstore.disk.cgroups import cgroups_path, delegated, freeze, freezer, is_frozen, is_populated, remove_cgroups


@pytest.mark.parametrize("unified", [True, False])
def test_control_groups_are_removed_everywhere(tmp_path, unified):
    container = tmp_path / "web"
    container.mkdir()
    name = cgroups_path(str(container)).lstrip("/")
    root = tmp_path / "cgroup"
    hierarchies = [root] if unified else [root / "cpu", root / "memory"]
    for hierarchy in hierarchies:
        (hierarchy / name / "inner/deep").mkdir(parents=True)
        (hierarchy / "arstore/other").mkdir()
    if unified:
        (root / "cgroup.controllers").touch()
    assert remove_cgroups(str(container), str(root))
    assert all(os.listdir(hierarchy / "arstore") == ["other"] for hierarchy in hierarchies)
    assert remove_cgroups(str(container), str(root))


def test_what_control_groups_can_limit(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for name in ("cpu,cpuacct", "memory", "pids", "systemd"):
        (old / name).mkdir(parents=True)
    assert delegated(str(old)) == {"cpu", "cpuacct", "memory", "pids", "systemd"}
    (old / "memory/memory.memsw.limit_in_bytes").touch()
    assert "swap" in delegated(str(old))
    (new / "init.scope").mkdir(parents=True)
    (new / "cgroup.controllers").write_text("cpu memory pids\n")
    assert delegated(str(new)) == frozenset()
    # What the groups below have is what counts.
    (new / "cgroup.subtree_control").write_text("memory pids\n")
    assert delegated(str(new)) == {"memory", "pids"}
    (new / "init.scope/memory.swap.max").touch()
    assert delegated(str(new)) == {"memory", "pids", "swap"}
    assert delegated(str(tmp_path / "none")) == frozenset()


def test_control_group_with_a_process_stays(tmp_path):
    name = cgroups_path(str(tmp_path)).lstrip("/")
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "cgroup.procs").write_text("1\n")
    (tmp_path / "cgroup.controllers").touch()
    assert not remove_cgroups(str(tmp_path), str(tmp_path))
    assert is_populated(str(tmp_path), str(tmp_path))
    (tmp_path / name / "cgroup.procs").write_text("")
    assert not is_populated(str(tmp_path), str(tmp_path))


def test_same_id_in_two_stores_has_two_groups(tmp_path):
    assert cgroups_path(str(tmp_path / "a/web")) != cgroups_path(str(tmp_path / "b/web"))
    assert cgroups_path(str(tmp_path / "a/web")).startswith("/arstore/web-")


@pytest.mark.parametrize("unified", [True, False])
def test_what_freezes(tmp_path, unified):
    root = tmp_path / "cgroup"
    group = root / (cgroups_path(str(tmp_path)).lstrip("/") if unified else f"freezer{cgroups_path(str(tmp_path))}")
    assert freezer(str(tmp_path), str(root)) is None
    assert not is_frozen(str(tmp_path), str(root))
    with pytest.raises(FileNotFoundError):
        freeze(str(tmp_path), root=str(root))
    group.mkdir(parents=True)
    file = group / ("cgroup.freeze" if unified else "freezer.state")
    thawed, frozen = ("0\n", "1\n") if unified else ("THAWED\n", "FROZEN\n")
    file.write_text(thawed)
    assert freezer(str(tmp_path), str(root)) == str(file)
    assert not is_frozen(str(tmp_path), str(root))
    if unified:
        (group / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    assert freeze(str(tmp_path), root=str(root))
    assert file.read_text().strip() == frozen.strip()
    assert is_frozen(str(tmp_path), str(root))
    if unified:
        # The kernel has taken the order, and a process has not stopped yet.
        (group / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    else:
        file.write_text("FREEZING\n")
    assert is_frozen(str(tmp_path), str(root))
    assert not is_frozen(str(tmp_path), str(root), settled=True)
