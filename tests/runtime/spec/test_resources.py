"""Limits: their syntax, their meaning in config.json, and those that a host cannot set."""

import pytest

from arstore.errors import NotFoundError, UsageError
from arstore.runtime.spec import resources
from arstore.runtime.spec.options import RunOptions
from arstore.runtime.spec.resource_section import left_out
from arstore.runtime.spec.resource_section import resources as section
from arstore.runtime.spec.resources import DeviceNumber, DeviceRule, Resources

ALL = frozenset({"memory", "swap", "swappiness", "oom", "weight", "pids"})


def test_swap_includes_the_memory():
    assert resources.parse_swap("128m", 64 << 20) == 128 << 20
    assert resources.parse_swap("-1", 64 << 20) == -1
    assert resources.parse_swap("0", 64 << 20) == 128 << 20
    for text, memory in (("32m", 64 << 20), ("128m", None), ("-2", 64 << 20)):
        with pytest.raises(UsageError):
            resources.parse_swap(text, memory)


def test_a_reservation_is_part_of_the_memory():
    assert resources.parse_reservation("32m", None) == 32 << 20
    with pytest.raises(UsageError):
        resources.parse_reservation("128m", 64 << 20)


@pytest.mark.parametrize("text", ["0", "0-1", "0,1", "1,0-1"])
def test_sets(text):
    assert resources.parse_set(text, "CPUs", "0-1") == text


@pytest.mark.parametrize("text", ["", "a", "1-0", "2", "0-2", "0,,1", "-1", "0-", "99999999"])
def test_no_sets(text):
    with pytest.raises(UsageError):
        resources.parse_set(text, "CPUs", "0-1")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("c 1:3 rwm", DeviceRule("c", 1, 3, "rwm")),
        ("b 8:* r", DeviceRule("b", 8, -1, "r")),
        ("a *:* rwm", DeviceRule("a", -1, -1, "rwm")),
    ],
)
def test_rules_for_devices(text, rule):
    assert resources.parse_device_rule(text) == rule


@pytest.mark.parametrize("text", ["", "x 1:3 rwm", "c 1 rwm", "c 1:3", "c 1:3 rwx", "c -1:3 r", "c 1:3 rwm "])
def test_no_rules_for_devices(text):
    with pytest.raises(UsageError):
        resources.parse_device_rule(text)


def test_block_devices():
    for text, error in (
        ("/dev/null:1m", UsageError),
        ("/dev/nothing:1m", NotFoundError),
        ("sda:1m", UsageError),
        ("/dev/null", UsageError),
    ):
        with pytest.raises(error):
            resources.parse_block_device("device_read_bps", text)


def test_files_of_control_groups():
    assert resources.parse_unified("memory.high=1") == ("memory.high", "1")
    for text in ("memory.high", "../x=1", "cgroup.procs=1", "memory=1", "a/b.c=1"):
        with pytest.raises(UsageError):
            resources.parse_unified(text)


def test_all_limits_are_in_the_document():
    more = Resources(
        memory_swap=-1,
        memory_reservation=1,
        memory_swappiness=0,
        oom_kill_disable=True,
        cpu_shares=2,
        cpu_period=3,
        cpu_quota=4,
        cpu_rt_period=5,
        cpu_rt_runtime=6,
        cpuset_cpus="0",
        cpuset_mems="1",
        blkio_weight=10,
        block_devices=(DeviceNumber("weight", 8, 0, 20), DeviceNumber("device_read_bps", 8, 1, 30)),
        device_rules=(DeviceRule("a", -1, -1, "r"),),
        unified=(("memory.high", "1"),),
    )
    found = section(RunOptions(memory=64 << 20, resources=more), ALL)
    assert found["memory"] == {
        "limit": 64 << 20,
        "swap": -1,
        "reservation": 1,
        "swappiness": 0,
        "disableOOMKiller": True,
    }
    assert found["cpu"] == {
        "shares": 2, "period": 3, "quota": 4, "realtimePeriod": 5, "realtimeRuntime": 6, "cpus": "0", "mems": "1",
    }  # fmt: skip
    assert found["blockIO"] == {
        "weight": 10,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 20}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 30}],
    }
    assert found["devices"][-1] == {"allow": True, "access": "r"}
    assert found["unified"] == {"memory.high": "1"}


def test_what_the_host_cannot_do_is_left_out_and_named():
    more = Resources(memory_swap=-1, memory_swappiness=5, oom_kill_disable=True, blkio_weight=10)
    options = RunOptions(memory=64 << 20, resources=more)
    assert left_out(options, ALL) == []
    assert left_out(options, frozenset({"memory"})) == [
        "--memory-swap", "--memory-swappiness", "--oom-kill-disable", "--blkio-weight",
    ]  # fmt: skip
    found = section(options, frozenset({"memory"}))
    assert found["memory"] == {"limit": 64 << 20}
    assert "blockIO" not in found
