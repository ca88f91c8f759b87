import json
import os

import pytest
from support import stores

from arstore.errors import (
    ArstoreError,
    RuntimeMissingError,
)
from arstore.mounts.leftovers import passing_name
from arstore.runtime import discovery
from arstore.runtime.driver import OciRuntime


def program(path, text="#!/bin/sh\nexit 1\n"):
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_discovery_names_each_reason(tmp_path, monkeypatch):
    for name in ("crun", "runc"):
        program(tmp_path / name)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(discovery, "_MORE_PLACES", ())

    def refuse(runtime, _runroot, _deadline):
        raise RuntimeMissingError("x", f"{runtime.name} says no")

    monkeypatch.setattr(discovery, "_trial", refuse)
    with pytest.raises(RuntimeMissingError, match=r"crun: crun says no; runc: runc says no"):
        discovery.find_runtime(None, str(tmp_path / "run"))
    with pytest.raises(RuntimeMissingError, match="not found"):
        discovery.find_runtime("nonesuch", str(tmp_path / "run"))


def test_discovery_remembers_until_the_program_changes(tmp_path, monkeypatch):
    path = program(tmp_path / "runc")
    runroot = str(tmp_path / "run")
    tried = []

    def accept(runtime, _runroot, _deadline):
        tried.append(runtime.path)
        os.makedirs(runroot, exist_ok=True)
        if runtime.seccomp:
            raise RuntimeMissingError("x", "seccomp is not supported")
        return runtime

    monkeypatch.setattr(discovery, "_trial", accept)
    first = discovery.find_runtime(str(path), runroot)
    assert not first.seccomp
    assert "seccomp" in first.note
    assert discovery.find_runtime(str(path), runroot) == first
    assert len(tried) == 2
    program(path, "#!/bin/sh\nexit 12\n")
    discovery.find_runtime(str(path), runroot)
    assert len(tried) == 4
    cache = tmp_path / "run/runtime.json"
    for text in ("", "[]", "{}", json.dumps({"surroundings": ["old"]}), '{"surroundings": 1, "programs": 5}'):
        cache.write_text(text)
        assert discovery.find_runtime(str(path), runroot).path == str(path)


def test_discovery_tries_without_control_groups_apart(tmp_path, monkeypatch):
    path = str(program(tmp_path / "crun"))
    runroot = str(tmp_path / "run")
    tried = []

    def accept(runtime, _runroot, _deadline):
        tried.append(runtime.cgroups)
        os.makedirs(runroot, exist_ok=True)
        return runtime

    monkeypatch.setattr(discovery, "_trial", accept)
    for _ in range(2):
        assert discovery.find_runtime(path, runroot).cgroups
        assert not discovery.find_runtime(path, runroot, cgroups=False).cgroups
    assert tried == [True, False]


def test_trial_that_was_killed_is_swept(tmp_path):
    living = passing_name("trial")
    (tmp_path / f"trial.{stores.dead_owner().directory_name()}/bundle").mkdir(parents=True)
    (tmp_path / living).mkdir()
    (tmp_path / "other").mkdir()
    with discovery._scratch(str(tmp_path)) as directory:
        assert sorted(os.listdir(tmp_path)) == sorted(["other", living, os.path.basename(directory)])
    assert sorted(os.listdir(tmp_path)) == ["other", living]


@pytest.mark.root
def test_discovery_by_a_real_trial(tmp_path):
    try:
        found = discovery.find_runtime(None, str(tmp_path))
    except ArstoreError as error:
        pytest.skip(str(error))
    assert isinstance(found, OciRuntime)
    assert os.listdir(tmp_path) == ["runtime.json"]
    with pytest.raises(RuntimeMissingError):
        discovery.find_runtime("/bin/false", str(tmp_path))
    assert os.listdir(tmp_path) == ["runtime.json"]
