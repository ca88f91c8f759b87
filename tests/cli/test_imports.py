"""Modules that the command line uses below the library: an exact list, which should become shorter (decision 102).

Modules that turn words into values are not counted, and neither are imports for type checkers.
"""

from __future__ import annotations

import ast
from pathlib import Path

import arstore

CLI = Path(arstore.__file__).parent / "cli"

WORDS = (
    *("api", "cli", "errors", "oci", "pattern", "values", "digest", "tar"),
    *("runtime.spec", "trees.contents", "trees.forms", "trees.metadata", "registry.auth.credential"),
    *("runtime.stdio.detach_keys", "runtime.stdio.log_options", "runtime.lifecycle.signals", "trust.policy"),
    *("transport.location", "store.progress", "disk.paths"),
)
"""Packages and modules of values and of their syntax."""

PUBLIC = {f"{home.removeprefix('arstore.')}" for home in arstore._HOMES.values()}

USED = {
    "completion/values": (
        "linux.isolation.user_namespace pipeline.clock registry.configuration.auth_file registry.configuration.places"
    ),
    "containers/attach": "runtime.lifecycle.attaching",
    "containers/containers": "runtime.lifecycle.exec runtime.stdio.attach",
    "containers/cp": (
        "runtime.copying.copy runtime.copying.root runtime.copying.target runtime.copying.tars "
        "runtime.inspection.about transport.sinks.archive"
    ),
    "containers/export": "transport.sinks.archive",
    "containers/healthcheck": "runtime.health.run runtime.health.state runtime.lifecycle.request",
    "containers/inspection/container_documents": "disk.cgroups",
    "containers/inspection/ps": "runtime.inspection.about",
    "containers/inspection/stats": "disk.cgroup_usage linux.isolation.namespace runtime.lifecycle.state",
    "containers/inspection/top": "runtime.copying.root runtime.inspection.processes runtime.lifecycle.state",
    "containers/load": "pipeline.clock pipeline.place",
    "containers/logs": (
        "runtime.lifecycle.request runtime.lifecycle.state runtime.stdio.log_reader runtime.stdio.logs "
        "store.container_document"
    ),
    "containers/mounts": "mounts.source mounts.table mounts.unrecorded rootfs.mount",
    "containers/options/limit": "disk.cgroups disk.delegation",
    "containers/options/new_container": (
        "runtime.lifecycle.containers runtime.lifecycle.id_files runtime.lifecycle.removal"
    ),
    "containers/options/setting": "disk.delegation",
    "containers/options/shared": "runtime.lifecycle.state",
    "containers/options/stream": "runtime.stdio.attach",
    "containers/run": "maintenance.remove runtime.lifecycle runtime.lifecycle.id_files runtime.lifecycle.starting",
    "containers/start": "runtime.lifecycle.attaching runtime.lifecycle.containers runtime.lifecycle.starting",
    "containers/unshare": "linux.isolation",
    "images/copy": "transport.sinks.archive transport.sinks.destination",
    "images/copying": "transport.sinks.destination",
    "images/images": "maintenance.verdicts store.collect.protected store.store",
    "images/index": "store.indexes",
    "images/inspect": "runtime.inspection.about",
    "images/layers": "store.forest",
    "main": "linux.process",
    "manual/command": "linux.files.writing",
    "namespace": "disk disk.access linux.isolation mounts.table mounts.view store.additional",
    "pictures/layer_graph": "store.forest",
    "pictures/output": "linux.files.writing transport.sinks.whole_file",
    "registries/inspect": "transport.registry transport.selection.selector",
    "registries/listing": "registry.manifests registry.referrers registry.tags store.attachments",
    "registries/login": "registry.configuration.auth_file registry.configuration.places",
    "registries/push": "transport.sinks.destination",
    "registries/sync": (
        "sync.directories sync.directory_places sync.place sync.registries sync.registry_place sync.run "
        "sync.store_place sync.yaml_file"
    ),
    "session": "workers",
    "trust/keygen": "trust.signing.cosign_key trust.signing.key_files trust.signing.private",
    "trust/passphrase": "trust.signing.key_files",
    "trust/policy": (
        "transport.admission.explain transport.admission.kept transport.detect transport.export.spool "
        "transport.selection.selector trust"
    ),
    "trust/rules": "transport.admission.kept trust.rules",
    "trust/signing": "transport.signing.place",
    "trust/verify": "trust.rules trust.signing.key_files",
    "upkeep/convert": "maintenance.convert store.elsewhere",
    "upkeep/du": (
        "disk.free_space maintenance maintenance.breakdown.hierarchy maintenance.disk_usage maintenance.lenders"
    ),
    "upkeep/prometheus": "disk.free_space",
    "upkeep/usage_history": "maintenance.usage_log",
    "upkeep/usage_tables": "maintenance.breakdown.pieces",
    "upkeep/usage_tree": "maintenance.breakdown.hierarchy maintenance.breakdown.part",
}
"""By module of `arstore/cli`: the modules that it uses below the library."""


def used(path):
    """The modules below the library that *path* imports when it runs."""
    tree = ast.parse(path.read_text())
    types = {
        id(one)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for one in ast.walk(statement)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in types:
            continue
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.removeprefix("arstore.") for name in names if name.startswith("arstore.")}
    return {one for one in found if one not in PUBLIC and not any(f"{one}.".startswith(f"{word}.") for word in WORDS)}


def test_commands_use_the_library():
    found = {str(path.relative_to(CLI).with_suffix("")): used(path) for path in CLI.rglob("*.py")}
    assert {name: modules for name, modules in found.items() if modules} == {
        name: set(words.split()) for name, words in USED.items()
    }


def test_an_import_below_the_library_is_found(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        "from arstore.api.store import Store\nfrom arstore.runtime.spec.sizes import parse_size\n"
        "if TYPE_CHECKING:\n    from arstore.graph.graph import Graph\n"
        "def f():\n    from arstore.mounts.table import MountTable\n    import arstore.store.store\n"
    )
    assert used(path) == {"mounts.table", "store.store"}
