"""Modules that short commands import: a test over `sys.modules` of real processes, never over the clock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import images
from support import registry as registries

REPOSITORY = Path(__file__).resolve().parents[2]

PROBE = """
import os, sys
from arstore.__main__ import main
from arstore.cli import main as program
def end(status):
    # A deferred module that was not needed is not loaded.
    names = [name for name, module in sorted(sys.modules.items()) if type(module).__name__ != "_Deferred"]
    with open(os.environ["LOADED"], "w") as file:
        file.write(f"{status} {' '.join(names)}")
    os._exit(status)
program._end = end
main()
"""

HEAVY = (
    "arstore.tar.reader",
    "arstore.transport",
    "arstore.cli.registries.pull",
    "http",
    "ssl",
    "urllib",
    "arstore.runtime",
    "arstore.pipeline",
    "arstore.trust.encryption",
    "arstore.trust.openpgp",
    "arstore.trust.policy",
    "arstore.trust.signing",
    "arstore.trust.sigstore",
    "arstore.maintenance",
    "arstore.store.ingest.intake",
    "arstore.workers.pool",
    "arstore.trees.directory.extraction",
    "arstore.store.ingest.publish",
    "arstore.trees.erofs.builder",
    "arstore.trees.erofs.reader",
    "zlib_ng",
    "isal",
    "backports.zstd",
    "blake3",
    "cryptography",
    "rich",
    "hashlib",
    "subprocess",
    "multiprocessing",
    "tarfile",
    "tempfile",
    "socket",
    "logging",
    "click",
)
"""No short command needs these."""

QUICK = ("click", "dataclasses", "hashlib", "base64", "uuid", "datetime")
"""Modules that even `mount` and `run` do without; click and the data classes alone are 15 ms."""

MOUNTING = ("arstore.rootfs.mount", "arstore.mounts.table", "arstore.mounts.overlay", "arstore.trees.erofs", "ctypes")
READING = ("arstore.disk.staging", "arstore.store.ingest.inventory", "arstore.store.containers", "arstore.oci.config")

COMMANDS = {
    "--version": (("--version",), (*MOUNTING, *READING, "dataclasses", "lmdb", "arstore.store")),
    "images": (("images",), (*MOUNTING, *READING, "arstore.oci")),
    "layers": (("layers",), (*MOUNTING, *READING, "arstore.oci")),
    "tag": (("tag", "example:1", "other:1"), ("arstore.rootfs.mount", "arstore.mounts.table", "arstore.trees.erofs")),
    "untag": (("untag", "example:latest"), ("arstore.rootfs.mount", "arstore.mounts.table", "arstore.trees.erofs")),
    "mounts": (("mounts",), ("arstore.rootfs.mount", "arstore.trees.erofs", "arstore.oci")),
    "mount": (("mount", "example:1"), ()),
    "umount": (("umount", "--all"), ("arstore.rootfs.mount", "arstore.trees.erofs.form", "arstore.oci")),
}


def loaded(filled, tmp_path, words, **variables):
    """How a command ended in a separate process, and the modules that it had loaded by then."""
    path = tmp_path / "loaded.json"
    command = [sys.executable, "-c", PROBE, "--root", str(filled.root), "--runroot", str(filled.runroot), *words]
    environment = {"PYTHONPATH": str(REPOSITORY), "LOADED": str(path), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    environment |= {"XDG_CONFIG_HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path), **variables}
    subprocess.run(command, env=environment, capture_output=True, check=False)
    status, *modules = path.read_text().split()
    return {"status": int(status), "modules": modules}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_not_needed_is_not_imported(filled, tmp_path, name):
    words, more = COMMANDS[name]
    if name in {"mount", "umount"} and filled("mount", "example:1").status:
        pytest.skip("this host does not mount")
    found = loaded(filled, tmp_path, words)
    assert found["status"] == 0
    modules = found["modules"]
    assert [one for one in modules if any(one == word or one.startswith(f"{word}.") for word in (*HEAVY, *more))] == []
    assert not set(QUICK) & set(modules)


def test_an_inspection_reads_documents_and_mounts_nothing(filled, tmp_path):
    found = loaded(filled, tmp_path, ("inspect", "example:1"))
    assert found["status"] == 0
    assert not {"arstore.rootfs.mount", "arstore.mounts.table", "arstore.store.ingest.intake"} & set(found["modules"])


def test_a_run_imports_no_slow_module():
    code = "import arstore.cli.main, arstore.cli.containers.run, arstore.runtime.lifecycle.containers, sys\n"
    code += f"print(*(set({QUICK!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_and_errors_still_come_from_click(filled, tmp_path):
    found = loaded(filled, tmp_path, ("--help",))
    assert (found["status"], "click" in found["modules"]) == (0, True)
    assert not [one for one in found["modules"] if one.startswith(("arstore.store", "lmdb"))]
    assert loaded(filled, tmp_path, ("images", "--nonsense"))["status"] == 2


MOST_MODULES = {"--version": 22, "images": 72, "tag": 77, "mount": 119}
"""Modules of arstore that a command may load. Each costs 0.1 to 0.2 ms: raise a number only with a reason.

`tag` loads two packages more than before (`api.methods`, `api.values`), and a fifth of the library's methods.
"""


@pytest.mark.parametrize("name", MOST_MODULES)
def test_a_command_stays_within_its_budget_of_modules(filled, tmp_path, name):
    if name == "mount" and filled("mount", "example:1").status:
        pytest.skip("this host does not mount")
    modules = [one for one in loaded(filled, tmp_path, COMMANDS[name][0])["modules"] if one.startswith("arstore")]
    assert len(modules) <= MOST_MODULES[name], modules


def test_a_command_without_a_registry_imports_nothing_for_one(filled, tmp_path):
    archive = images.write_oci_archive(tmp_path / "x.tar", images.example())
    found = loaded(filled, tmp_path, ("import", str(archive)))
    assert found["status"] == 0
    wanted = ("http", "ssl", "arstore.registry", "email", "tomllib", "getpass")
    assert [one for one in found["modules"] if one.partition(".")[0] in wanted or one.startswith(wanted[2])] == []


CONFIGURATION = "arstore.api.config"


def test_without_a_configuration_file_nothing_is_imported_for_one(filled, tmp_path):
    if os.path.lexists("/etc/arstore/config.toml"):
        pytest.skip("this host has a configuration file")
    found = loaded(filled, tmp_path, ("images",))
    assert found["status"] == 0
    assert [one for one in found["modules"] if one.startswith((CONFIGURATION, "tomllib"))] == []
    # The same for a file that is named and stands for none.
    found = loaded(filled, tmp_path, ("images",), ARSTORE_CONFIG=os.devnull)
    assert [one for one in found["modules"] if one.startswith((CONFIGURATION, "tomllib"))] == []


def test_with_a_configuration_file_its_text_is_parsed_once(filled, tmp_path):
    (tmp_path / "home/arstore").mkdir(parents=True)
    path = tmp_path / "home/arstore/config.toml"
    path.write_text('log-level = "error"\n[limits]\nratio = 500\n')
    kept = []
    for _ in range(2):
        found = loaded(filled, tmp_path, ("images",))
        assert found["status"] == 0
        kept.append({one for one in found["modules"] if one.startswith((CONFIGURATION, "tomllib", "arstore.tar"))})
    if os.geteuid() == 0 and not os.access("/run", os.W_OK):
        pytest.skip("the cache cannot be written: /run is read-only")
    assert {"tomllib", f"{CONFIGURATION}.document"} <= kept[0]
    assert kept[1] == {CONFIGURATION, *(f"{CONFIGURATION}.{name}" for name in ("cache", "files", "settings"))}
    path.write_text('log-level = "info"\n')
    assert "tomllib" in loaded(filled, tmp_path, ("images",))["modules"]


def test_a_bare_program_shows_its_help_and_imports_no_command(filled, tmp_path):
    found = loaded(filled, tmp_path, ())
    assert found["status"] == 0
    assert not [one for one in found["modules"] if one.startswith(("arstore.store", "arstore.api", "lmdb"))]


SLOW_WITH_NOTHING_NEW = (
    *("ssl", "http", "email", "urllib", "tomllib", "click", "encodings.idna", "random", "tempfile"),
    *("hashlib", "signal", "queue", "arstore.workers.pool", "arstore.tar.reader"),
    *("arstore.store.ingest.layer_jobs", "arstore.registry.auth.token", "arstore.transport.export.content.inflating"),
)
FEWEST_WITH_NOTHING_NEW = {"pull": 149, "copy": 187, "push": 156}
"""Modules of arstore that a command may load that finds out that there is nothing to move."""


@pytest.mark.parametrize("name", FEWEST_WITH_NOTHING_NEW)
def test_what_is_there_already_is_found_out_without_what_moves_it(filled, tmp_path, name):
    with registries.served() as server:
        server.to_tls = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
        server.put_image("a/b", "1", images.example())
        place = f"{server.host}/a/b:1"
        lines = {
            "pull": ("pull", "--tls-verify=false", place),
            "copy": ("copy", "--tls-verify=false", f"docker://{place}", f"oci:{tmp_path}/layout:1"),
            "push": ("push", "--tls-verify=false", "example:1", f"docker://{server.host}/c/d:1"),
        }
        words = ("--quiet", *lines[name])
        assert filled(*words).status == 0
        # Once more, so that the parsed registries.conf is kept.
        loaded(filled, tmp_path, words)
        found = loaded(filled, tmp_path, words)
    assert found["status"] == 0
    modules = found["modules"]
    slow = SLOW_WITH_NOTHING_NEW
    assert [one for one in modules if any(one == word or one.startswith(f"{word}.") for word in slow)] == []
    assert len([one for one in modules if one.startswith("arstore")]) <= FEWEST_WITH_NOTHING_NEW[name]
