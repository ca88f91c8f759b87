"""A small root file system and containers in it, run by a real OCI runtime."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import started
from support.waiting import PATIENCE

from arstore.disk.cgroups import remove_cgroups
from arstore.errors import ArstoreError
from arstore.runtime.discovery import find_runtime
from arstore.runtime.lifecycle.control import wait
from arstore.runtime.lifecycle.state import status

REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("container_script.py")
APPLETS = (
    "sh cat echo id env pwd ls ps sleep true false touch stat mount stty tty kill head dd grep wc seq hostname chmod ln"
    " unshare tr"
)


def make_rootfs(directory: Path, busybox: str) -> Path:
    (directory / "bin").mkdir(parents=True)
    (directory / "etc").mkdir()
    (directory / "tmp").mkdir(mode=0o1777)
    shutil.copy(busybox, directory / "bin/busybox")
    for name in APPLETS.split():
        (directory / "bin" / name).symlink_to("busybox")
    (directory / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001:A:/home/alice:/bin/sh\n")
    (directory / "etc/group").write_text("root:x:0:\nstaff:x:50:alice\nwheel:x:60:bob,alice\nalice:x:1001:\n")
    return directory


@dataclass
class Box:
    """One container: its directory and its root file system."""

    base: Path
    rootfs: Path
    runtime: str
    seccomp: bool
    id: str = "box"

    @property
    def directory(self) -> Path:
        return self.base / self.id

    @property
    def error(self) -> tuple[str, str]:
        name, line = json.loads((self.base / "result").read_text())
        return name, line

    def command(self, *args: str, mode: str = "run", config=None, timeout=None, **options) -> list[str]:
        self.directory.mkdir(exist_ok=True)
        if not mode.startswith("exec"):
            options["args"] = list(args)
        spec = {
            "mode": mode,
            "id": self.id,
            "directory": str(self.directory),
            "rootfs": str(self.rootfs),
            "runtime": self.runtime,
            "seccomp": self.seccomp,
            "config": config or {},
            "options": options,
            "args": list(args),
            "timeout": timeout,
            "result": str(self.base / "result"),
        }
        path = self.base / f"{mode}-{time.monotonic_ns()}.json"
        path.write_text(json.dumps(spec))
        return [sys.executable, str(SCRIPT), str(path)]

    def popen(self, *args: str, popen=None, **settings) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | (popen or {})
        return subprocess.Popen(self.command(*args, **settings), env=self.environment(), **pipes)

    def environment(self) -> dict[str, str]:
        return os.environ | {"PYTHONPATH": str(REPOSITORY)}

    def run(self, *args: str, given: bytes = b"", popen=None, **settings) -> subprocess.CompletedProcess[bytes]:
        if popen is None and (server := started.server(self.environment())) is not None:
            done = server.run(self.command(*args, **settings)[1:], self.environment(), os.getcwd(), given, PATIENCE)
            if done is not None:
                return done
        with self.popen(*args, popen=popen, **settings) as process:
            out, err = process.communicate(given, timeout=PATIENCE)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def shell(self, script: str, **settings) -> subprocess.CompletedProcess[bytes]:
        return self.run("sh", "-c", script, **settings)

    def state(self):
        return status(str(self.directory))

    def until(self, *statuses: str):
        """Wait until the container is in one of these states."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if (self.directory / "state.json").exists() and (state := self.state()).status in statuses:
                return state
            time.sleep(0.01)
        raise AssertionError(f"never {statuses}")


@pytest.fixture(scope="session")
def small_rootfs(tmp_path_factory, busybox) -> Path:
    return make_rootfs(tmp_path_factory.mktemp("small") / "rootfs", busybox)


@pytest.fixture(scope="session")
def working_runtime(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        return find_runtime(None, str(tmp_path_factory.mktemp("runroot")))
    except ArstoreError as error:
        pytest.skip(str(error))


@pytest.fixture
def box(tmp_path, working_runtime, busybox):
    """A container with a separate root file system, cleaned up however a test ends."""
    rootfs = make_rootfs(tmp_path / "rootfs", busybox)
    made = Box(tmp_path, rootfs, working_runtime.path, working_runtime.seccomp)
    yield made
    if (made.directory / "state.json").exists():
        state = made.state()
        if state.is_running:
            os.kill(state.keeper.pid, 9)
            wait(str(made.directory), 20)
        remove_cgroups(str(made.directory))
