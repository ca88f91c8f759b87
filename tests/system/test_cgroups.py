"""Containers on hosts with other control groups than this one: the old hierarchies alone, and the unified one.

A private mount namespace shows the runtime what such a host would. If a trial without arstore shows that the runtime
itself cannot work with that, the case is skipped.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support import programs
from support.cli import Arstore
from support.runnable import write_runnable

pytestmark = [pytest.mark.root, pytest.mark.mounts]

VIEWS = {
    "old": "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi",
    "unified": "umount -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup",
}
PROBE = {
    "ociVersion": "1.0.2",
    "process": {"user": {"uid": 0, "gid": 0}, "args": ["/true"], "cwd": "/"},
    "root": {"path": "rootfs", "readonly": True},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    "linux": {
        "namespaces": [{"type": kind} for kind in ("mount", "pid", "cgroup")],
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
    },
}


def prefix(view: str) -> tuple[str, ...]:
    """The words before a command that make it see control groups as in *view*."""
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", f'{VIEWS[view]} && exec "$@"', "sh")


def seen(view: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run *command* there."""
    return subprocess.run([*prefix(view), *command], check=False, capture_output=True, text=True, timeout=120)


def why_not(view: str, runtime: str, options: list[str], place: Path, busybox: str) -> str:
    """Why *runtime* itself cannot run a container there."""
    for name in ("dev", "proc"):
        (place / "rootfs" / name).mkdir(parents=True)
    (place / "rootfs/true").write_bytes(Path(busybox).read_bytes())
    (place / "rootfs/true").chmod(0o755)
    (place / "config.json").write_text(json.dumps(PROBE))
    command = [runtime, *options, "--root", f"{place}/state", "run", "--bundle", str(place), place.name]
    done = seen(view, *command)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]


@pytest.fixture
def box(store, tmp_path, busybox):
    store.ok("import", write_runnable(tmp_path)["box"])
    return store


def within(box, view):
    """The same store's commands, run there; the cache of runtimes is not shared."""
    return Arstore(box.root, box.runroot, prefix(view))


@pytest.fixture
def runtime(request, tmp_path, busybox):
    """A runtime's path, if it runs a container by itself in the view."""
    name, view, options = request.param
    path = programs.program(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    (tmp_path / "probe").mkdir()
    if reason := why_not(view, path, options, tmp_path / "probe", busybox):
        pytest.skip(f"{name} does not work with {view} control groups: {reason}")
    return path


DISABLED = ["--cgroup-manager=disabled"]


def cases(*found: tuple[str, str, list[str]]):
    """Parameters for `runtime` and the view that it is for."""
    ids = [f"{name}-{view}" for name, view, _ in found]
    return pytest.mark.parametrize(("runtime", "view"), [(one, one[1]) for one in found], ids=ids, indirect=["runtime"])


@cases(("runc", "old", []), ("crun", "old", []), ("runc", "unified", []), ("crun", "unified", []))
def test_containers_run(box, runtime, view):
    outcome = within(box, view).run("run", "--runtime", runtime, "box:1", "/bin/sh", "-c", "exit 7")
    assert (outcome.status, outcome.err) == (7, "")


@cases(("crun", "old", DISABLED), ("crun", "unified", DISABLED))
def test_containers_run_without_control_groups(box, runtime, view):
    script = "while read line; do echo $line; done </proc/self/cgroup; [ -e /sys/fs/cgroup/* ] || echo none"
    words = ("--cgroups", "disabled", "--runtime", runtime, "box:1", "/bin/sh", "-c", script)
    outcome = within(box, view).ok("run", *words)
    assert outcome.err == ""
    assert "arstore" not in outcome.text
    assert outcome.text.endswith("none\n")


@cases(("crun", "old", DISABLED))
def test_one_more_process_without_control_groups(box, runtime, view):
    there = within(box, view)
    script = "while :; do sleep 1; done"
    there.ok("run", "-d", "--name", "c", "--cgroups=disabled", "--runtime", runtime, "box:1", "/bin/sh", "-c", script)
    try:
        assert there.run("exec", "c", "/bin/sh", "-c", "exit 9").status == 9
    finally:
        box.ok("container", "rm", "--force", "-t", "0", "c")


@pytest.mark.runtime
def test_runtimes_that_need_control_groups_say_so(box):
    runc = programs.program("runc")
    if runc is None:
        pytest.skip("runc is not installed")
    outcome = box.run("run", "--cgroups=disabled", "--runtime", runc, "box:1", "/bin/true")
    assert (outcome.status, len(outcome.err.splitlines())) == (125, 1)
    assert "crun" in outcome.err


@pytest.mark.parametrize("limit", [("-m", "64m"), ("--cpus", "1"), ("--pids-limit", "5")])
def test_limits_need_control_groups(box, limit):
    outcome = box.run("run", "--cgroups=disabled", *limit, "box:1", "/bin/true")
    assert (outcome.status, len(outcome.err.splitlines())) == (125, 1)


def test_limits_of_unified_control_groups(box):
    found = seen("unified", "cat", "/sys/fs/cgroup/cgroup.controllers")
    missing = {"cpu", "memory", "pids"} - set(found.stdout.split())
    if missing:
        pytest.skip(f"the unified hierarchy has no controllers {', '.join(sorted(missing))} on this host")
    script = "cd /sys/fs/cgroup; for name in memory.max pids.max; do read value <$name; echo $value; done"
    outcome = within(box, "unified").ok("run", "-m", "64m", "--pids-limit", "50", "box:1", "/bin/sh", "-c", script)
    assert outcome.text.split() == [str(64 << 20), "50"]
