"""Devices by name: files of the Container Device Interface, good and bad."""

from __future__ import annotations

import json

import pytest

from arstore.errors import RuntimeFailedError, UsageError
from arstore.runtime.spec.devices import HostDevice
from arstore.runtime.spec.mounts.volume import Volume
from arstore.runtime.spec.rights.cdi import Edits, Hook, edits, gpus

LIBRARY = {"hostPath": "/lib/x.so", "containerPath": "/lib/../lib/x.so", "options": ["ro", "nosuid", "rbind"]}
FULL = {"path": "/dev/a", "hostPath": "/dev/full", "permissions": "r"}
DOCUMENT = {
    "cdiVersion": "0.6.0",
    "kind": "nvidia.com/gpu",
    "containerEdits": {
        "env": ["NVIDIA_VISIBLE_DEVICES=void", "odd"],
        "mounts": [LIBRARY],
        "hooks": [{"hookName": "createContainer", "path": "/bin/hook", "args": ["hook", "a"], "timeout": 5}],
    },
    "devices": [
        {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/null"}], "additionalGIDs": [44]}},
        {"name": "all", "containerEdits": {"deviceNodes": [FULL]}},
    ],
}  # fmt: skip


@pytest.fixture
def place(tmp_path):
    (tmp_path / "cdi").mkdir()

    def write(document, name="nvidia.json"):
        (tmp_path / "cdi" / name).write_text(document if isinstance(document, str) else json.dumps(document))
        return [str(tmp_path / "cdi"), str(tmp_path / "nothing")]

    return write


def test_words():
    assert gpus("all") == ["nvidia.com/gpu=all"]
    assert gpus("0,GPU-1") == ["nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1"]
    for text in ("", "0,", "a\0"):
        with pytest.raises(UsageError):
            gpus(text)


def test_what_devices_need(place):
    places = place(DOCUMENT)
    common = Edits(
        ("NVIDIA_VISIBLE_DEVICES=void",),
        (),
        (Volume("/lib/x.so", "/lib/x.so", True, ("nosuid",)),),
        (Hook("createContainer", "/bin/hook", ("hook", "a"), (), 5),),
    )
    one = HostDevice("/dev/null", "/dev/null", "rw")
    assert edits(gpus("0"), places) == common._replace(devices=(one,), groups=("44",))
    # What all devices of a file need is added once.
    both = edits(gpus("0,all"), places)
    assert both == common._replace(devices=(one, HostDevice("/dev/full", "/dev/a", "r")), groups=("44",))


def test_yaml_and_the_later_place(place, tmp_path):
    places = place(DOCUMENT)
    (tmp_path / "nothing").mkdir()
    text = "kind: nvidia.com/gpu\ndevices:\n- name: '0'\n  containerEdits:\n    env: [A=b]\n    additionalGIDs: [7]\n"
    (tmp_path / "nothing/x.yaml").write_text(text)
    assert edits(gpus("0"), places) == Edits(("A=b",), groups=("7",))


def test_devices_that_no_file_has(place):
    for places in (place(DOCUMENT), ["/nonexistent"]):
        with pytest.raises(RuntimeFailedError, match="gpu=9: no file in"):
            edits(gpus("9"), places)


@pytest.mark.parametrize(
    "change",
    [
        "[]",
        "{",
        "[" * 100_000,
        {"kind": 5},
        {"devices": "x"},
        {"devices": [5]},
        {"devices": [{"name": ""}]},
        {"containerEdits": ["x"]},
        {"containerEdits": {"env": "x"}},
        {"containerEdits": {"mounts": [{"hostPath": "a", "containerPath": "/x"}]}},
        {"containerEdits": {"mounts": [{"hostPath": "/a", "containerPath": "/"}]}},
        {"containerEdits": {"deviceNodes": [{"path": "/dev/null", "permissions": "x"}]}},
        {"containerEdits": {"hooks": [{"hookName": "never", "path": "/x"}]}},
        {"containerEdits": {"hooks": [{"hookName": "poststop", "path": "x"}]}},
        {"containerEdits": {"hooks": [{"hookName": "poststop", "path": "/x", "timeout": "-1"}]}},
        {"containerEdits": {"additionalGIDs": ["root"]}},
    ],
)
def test_files_that_cannot_be_used(place, change):
    places = place(change if isinstance(change, str) else DOCUMENT | change)
    with pytest.raises(UsageError):
        edits(gpus("0"), places)


def test_a_file_that_others_could_have_written(place, tmp_path):
    places = place(DOCUMENT)
    (tmp_path / "cdi/nvidia.json").chmod(0o666)
    with pytest.raises(UsageError, match="only its owner"):
        edits(gpus("0"), places)
