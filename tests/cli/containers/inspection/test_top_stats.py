"""`top` and `stats` on a real runtime; control groups of both versions in made-up directories."""

from __future__ import annotations

import os

import pytest

from arstore.cli.containers.inspection.top_columns import COLUMNS, columns
from arstore.disk import cgroup_usage
from arstore.disk.cgroups import cgroups_path
from arstore.errors import UsageError


def test_columns():
    assert [one.heading for one in columns([])] == ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]
    assert [one.heading for one in columns(["pid,ppid", "user", "%C"])] == ["PID", "PPID", "USER", "%CPU"]
    assert [one.heading for one in columns(["-eo", "pid,cmd=WHAT"])] == ["PID", "WHAT"]
    assert columns(["-o", ",".join(COLUMNS)]) == list(COLUMNS.values())
    for words in (["nope"], ["-o"], ["pid,nope"], ["-Z"]):
        with pytest.raises(UsageError):
            columns(words)


def made(root, name, files):
    directory = root / name
    directory.mkdir(parents=True)
    for file, text in files.items():
        (directory / file).write_text(text)


def test_usage_of_version_2(tmp_path):
    container = tmp_path / "c"
    container.mkdir()
    root = str(tmp_path / "cg")
    assert cgroup_usage.usage(str(container), root) is None
    files = {
        "cgroup.controllers": "cpu memory",
        "cpu.stat": "usage_usec 1500\nuser_usec 1\n",
        "memory.current": "5000\n",
        "memory.stat": "anon 1\ninactive_file 2000\n",
        "memory.max": "max\n",
        "pids.current": "3\n",
        "pids.max": "7\n",
        "io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n",
    }
    made(tmp_path / "cg", cgroups_path(str(container)).lstrip("/"), files)
    assert cgroup_usage.usage(str(container), root) == cgroup_usage.Usage(1_500_000, 3000, None, 3, 7, 11, 22)


def test_usage_of_version_1(tmp_path):
    container = tmp_path / "c"
    container.mkdir()
    name = cgroups_path(str(container)).lstrip("/")
    made(tmp_path / "cg/cpuacct", name, {"cpuacct.usage": "77\n"})
    memory = {
        "memory.usage_in_bytes": "9000\n",
        "memory.limit_in_bytes": "9223372036854771712\n",
        "memory.stat": "total_inactive_file 1000\n",
    }
    made(tmp_path / "cg/memory", name, memory)
    made(tmp_path / "cg/pids", name, {"pids.current": "2\n", "pids.max": "max\n"})
    blocks = "8:0 Read 5\n8:0 Write 6\n8:0 Total 11\n8:16 Read 1\nTotal 12\n"
    made(tmp_path / "cg/blkio", name, {"blkio.throttle.io_service_bytes_recursive": blocks})
    found = cgroup_usage.usage(str(container), str(tmp_path / "cg"))
    assert found == cgroup_usage.Usage(77, 8000, None, 2, None, 6, 6)


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.runtime
class TestRunning:
    def test_top(self, busy):
        busy.ok("exec", "-d", "-u", "user", "web", "sleep", "777")
        rows = [line.split(None, 3) for line in busy.ok("top", "web", "pid", "user,group", "args").text.splitlines()]
        assert rows[:2] == [["PID", "USER", "GROUP", "COMMAND"], ["1", "root", "root", "sleep 1000"]]
        assert [row[1:] for row in rows[2:]] == [["user", "staff", "sleep 777"]]
        assert busy.ok("top", "web").text.split()[:3] == ["USER", "PID", "PPID"]
        for words in (["-ef"], ["aux"], ["-o", "pid,comm"], sorted(COLUMNS)):
            assert len(busy.ok("top", "web", *words).text.splitlines()) == 3
        first, _ = busy.ok("top", "--json", "web").json
        assert (first["pid"], first["user"]) == (1, "root")
        assert first["host_pid"] == busy.ok("inspect", "web").json["pid"]
        assert busy("top", "made").status == 3

    @pytest.mark.parametrize("kind", ["fifo", "link", "device", "large", "rubbish"])
    def test_top_with_a_hostile_passwd(self, busy, kind):
        script = {
            "fifo": "rm /etc/passwd; mkfifo /etc/passwd",
            "link": "rm /etc/passwd; ln -s /proc/1/root/etc/shadow /etc/passwd",
            "device": "rm /etc/passwd; ln -s /dev/zero /etc/passwd",
            "large": "dd if=/dev/zero of=/etc/passwd bs=1M count=20",
            "rubbish": "printf '\\033[31mroot:x:0:0\\n::::\\n\\377:x:0:0::/:\\n' > /etc/passwd",
        }[kind]
        busy.ok("exec", "web", "/bin/busybox", "sh", "-c", f"/bin/busybox --install -s /bin; {script}")
        row = busy.ok("top", "web", "user", "args").out.splitlines()[1]
        assert b"\x1b" not in row
        assert row.endswith(b"sleep 1000")

    def test_stats(self, busy):
        heading, row = busy.ok("stats", "--no-stream").text.splitlines()
        assert heading.startswith("ID   NAME")
        assert row.startswith("web  web")
        [one] = busy.ok("stats", "--json").json
        assert one["running"]
        assert one["pids"] >= 1
        if os.path.exists("/sys/fs/cgroup/memory/arstore") or os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            assert one["memory_limit"] == 64 << 20
            assert 0 < one["memory"] < 64 << 20
        [entry] = busy.ok("stats", "--no-stream", "--format", "json", "web").json
        assert (entry["name"], entry["net_io"]) == ("web", "0B / 0B")
        text = busy.ok("stats", "--no-stream", "--all", "--format", "{{.Name}} {{.PIDs}}").text
        assert text.splitlines()[0] == "made 0"
        busy.ok("pause", "web")
        assert busy.ok("stats", "--json").json[0]["running"]
        busy.ok("unpause", "web")
