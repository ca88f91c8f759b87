"""`info`: with and without a store, as root and as an ordinary user, and without a trace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support import images, programs, stores
from support.cli import Arstore

import arstore as library

NOBODY = 65534
GROUPS = ("versions", "host", "features", "paths", "store", "trees", "runtime", "settings", "this user can")


@pytest.fixture(autouse=True)
def no_files_of_this_host(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("ARSTORE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("arstore.api.places.host_config", lambda etc="": str(tmp_path / "etc/config.toml"))
    monkeypatch.setattr("arstore.api.places.SYSTEM_RUNROOT", str(tmp_path / "usual"))


def trace(directory):
    """Everything below *directory*, with whatever a change would change."""
    found = {}
    for place, folders, files in os.walk(directory):
        for name in (".", *folders, *files):
            status = os.lstat(os.path.join(place, name))
            key = os.path.normpath(os.path.join(place, name))
            found[key] = (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


def grouped(text):
    """The lines of each group as a dict."""
    found, title = {}, ""
    for line in text.splitlines():
        if line.startswith("  "):
            key, _, value = line.strip().partition(": ")
            found[title][key.rstrip(":")] = value
        else:
            title = line.removesuffix(":")
            found[title] = {}
    return found


def test_with_a_store(filled, tmp_path):
    before = trace(tmp_path)
    found = filled.ok("info", "--json").json
    assert trace(tmp_path) == before
    assert found["versions"]["arstore"] == library.__version__
    assert found["versions"]["libraries"]["lmdb"]
    assert found["host"]["uid"] == os.geteuid()
    store = found["store"]
    assert (store["exists"], store["images"], store["names"], store["error"]) == (True, 1, 2, "")
    assert len(store["id"]) == 32
    assert store["format"] == str(found["versions"]["store_format"])
    assert 0 < store["free"] <= store["size"]
    assert store["file_system"]
    assert found["paths"]["root"] == str(filled.root)
    assert found["settings"]["root"] == {"value": str(filled.root), "source": "option"}
    assert found["settings"]["limits.ratio"] == {"value": 200, "source": "default"}
    possible = {one["action"]: one["possible"] for one in found["abilities"]}
    assert possible["read the store's images"]
    assert possible["import and pull images"]


def test_for_people(filled):
    text = filled.ok("info").text
    found = grouped(text)
    assert tuple(found) == GROUPS
    assert found["store"]["images"] == "1"
    assert found["paths"]["root"] == str(filled.root)
    assert "limits.ratio" not in found["settings"]
    assert all(line.isprintable() for line in text.splitlines())


def test_without_a_store(storeless, tmp_path):
    found = storeless.ok("info", "--json").json
    assert (found["store"]["exists"], found["store"]["absent"]) == (False, "it does not exist")
    assert not storeless.root.exists()
    assert not storeless.runroot.exists()
    assert not (tmp_path / "usual").exists()
    possible = {one["action"]: one for one in found["abilities"]}
    assert possible["read the store's images"]["possible"] is False
    assert possible["import and pull images"]["possible"] is True
    assert grouped(storeless.ok("info").text)["store"]["exists"] == "no (it does not exist)"


def test_with_a_damaged_store(filled):
    (filled.root / "graph/data.mdb").write_bytes(b"\xff" * 32768)
    found = filled.ok("info", "--json").json
    assert found["store"]["exists"] is True
    assert "data.mdb" in found["store"]["error"] or "graph" in found["store"]["error"]
    assert {one["action"]: one["possible"] for one in found["abilities"]}["read the store's images"] is False


def test_the_sources_of_settings(storeless, tmp_path, monkeypatch):
    path = tmp_path / "c.toml"
    path.write_text('tree = "directory"\nruntime = "no-such-runtime"\n[limits]\nratio = 5\n')
    monkeypatch.setenv("ARSTORE_CONFIG", str(path))
    monkeypatch.setenv("ARSTORE_ADDITIONAL_STORES", str(tmp_path / "none"))
    found = storeless.ok("--log-level", "error", "info", "--json").json
    settings = found["settings"]
    assert settings["tree"] == {"value": "directory", "source": str(path)}
    assert settings["limits.ratio"] == {"value": 5, "source": str(path)}
    assert settings["log-level"] == {"value": "error", "source": "option"}
    assert settings["load.require-label"] == {"value": False, "source": "default"}
    assert settings["additional-store"] == {"value": [str(tmp_path / "none")], "source": "environment"}
    assert found["paths"]["config_files"] == [str(path)]
    assert found["runtime"]["path"] is None
    assert "no-such-runtime" in found["runtime"]["why"]
    (store,) = found["store"]["additional"]
    assert not store["usable"]
    assert "does not exist" in store["why"]
    # Not even the parsed form of the file is kept.
    assert not (tmp_path / "usual").exists()
    text = grouped(storeless.ok("info").text)
    assert text["settings"]["limits.ratio"] == f"5 ({path})"
    monkeypatch.setenv("ARSTORE_ROOT", str(storeless.root))
    assert storeless.ok("info", "--json").json["settings"]["root"]["source"] == "environment"


def test_a_wrong_configuration_is_the_answer(storeless, tmp_path):
    (tmp_path / "c.toml").write_text("rot = 1")
    assert storeless("--config", tmp_path / "c.toml", "info").status == 45


@pytest.mark.mounts
def test_what_was_found_out_in_this_boot(arstore, tmp_path, picture):
    filled = arstore
    filled.ok("import", images.write_oci_archive(tmp_path / "own.tar", picture))
    if filled("mount", "example:1").status:
        pytest.skip("this host does not mount")
    filled.ok("umount", "--all")
    found = filled.ok("info", "--json").json["trees"]
    assert found["form"] in {"erofs", "directory"}
    assert found["why"].endswith("tried in this boot")


@pytest.mark.root
def test_as_root_without_rights(filled):
    from arstore.linux.isolation import capability

    filled.ok("info")  # imports everything

    def work():
        capability.keep_only(0)
        found = filled.ok("info", "--json").json
        (mounting,) = [one for one in found["abilities"] if one["action"] == "mount images"]
        assert mounting["possible"] is False
        assert "needs CAP_SYS_ADMIN: this process is root without all rights" in mounting["why"]
        assert found["trees"]["form"] is None

    stores.forked(work)


# --- as an ordinary user, in a separate process ---------------------------------------------------------------------


def interpreter():
    """A Python that an ordinary user can run, with the libraries: this one, or the system's. Skips if neither works."""
    site = [one for one in sys.path if one.endswith("site-packages")]
    for program in (sys.executable, "/usr/bin/python3"):
        probe = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env"]
        probe += [f"PYTHONPATH={':'.join(site)}", program, "-c", "import click, lmdb, blake3"]
        done = subprocess.run(probe, capture_output=True, check=False, cwd="/")
        if done.returncode == 0:
            return program, site
    pytest.skip("an ordinary user cannot run a Python with the libraries of these tests")


@pytest.fixture
def place():
    made = Path(tempfile.mkdtemp(prefix="arstore-info-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.root
@pytest.mark.tools("setpriv")
def test_as_an_ordinary_user(place):
    program, site = interpreter()
    theirs = Arstore(place / "root", place / "run")
    archive = images.write_oci_archive(place / "example.tar", images.example())
    theirs.ok("import", archive)
    before = trace(place)
    home = place / "home"
    line = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", program, "-m", "arstore"]
    kept = theirs.environment()
    kept.pop("XDG_RUNTIME_DIR", None)
    kept |= {"PYTHONPATH": ":".join([kept["PYTHONPATH"], *site]), "HOME": str(home), "ARSTORE_CONFIG": os.devnull}
    had_directory = os.path.lexists(f"/tmp/arstore-{NOBODY}")
    for words in (("--root", str(theirs.root)), ()):
        done = subprocess.run([*line, *words, "info", "--json"], env=kept, capture_output=True, check=False, cwd="/")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        abilities = {one["action"]: one for one in found["abilities"]}
        assert found["host"]["uid"] == NOBODY
        space = found["without_root"]
        if space["possible"]:
            assert (space["kind"], space["owners"]) == ("entered", 1)
            assert space["why"]
        else:
            assert f"user namespaces: {space['why']}" in abilities["mount images"]["why"]
        assert abilities["import and pull images"]["possible"] is False
        if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
            assert found["features"]["cgroups"]["limits"] == []
            assert "only root can use" in abilities["limit a container's memory and processes"]["why"]
        if words:
            assert found["store"]["exists"] is None
            assert "belongs to root, and this user may not read it" in abilities["read the store's images"]["why"]
        else:
            assert found["store"]["root"] == f"{home}/.local/share/arstore"
            assert f"may not write to {place}" in abilities["import and pull images"]["why"]
    assert trace(place) == before
    assert os.path.lexists(f"/tmp/arstore-{NOBODY}") is had_directory


@pytest.mark.root
@pytest.mark.tools("unshare")
def test_on_read_only_media(place):
    if why := programs.why_no_mounts():
        pytest.skip(why)
    store = Arstore(place / "root", place / "run")
    store.ok("import", images.write_oci_archive(place / "example.tar", images.example()))
    script = f"mount -t tmpfs none {place}/run && cp -a {place}/root {place}/run/ && "
    script += f'mount -o remount,ro {place}/run && exec "$@"'
    words = store.words("info", "--json")
    words[words.index("--root") + 1] = f"{place}/run/root"
    line = ["unshare", "--mount", "sh", "-c", script, "sh", *words]
    done = subprocess.run(line, env=store.environment(), capture_output=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["store"]["images"], found["store"]["access"]) == (1, "read-only file system")
    assert (
        "read-only file system" in {one["action"]: one for one in found["abilities"]}["import and pull images"]["why"]
    )
