"""The direction of imports: every package imports only those before it, and no two modules import each other.

{pattern, values} < trace < errors < digest < linux < {oci, tar, workers} < {disk, registry, trust}
< {graph, trees} < mounts < store < {rootfs, transport} < {maintenance, runtime, sync} < pipeline < api < cli

All imports count, those inside functions and those for type checkers too: types create dependencies just as well.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "arstore"

ORDER = [
    {"pattern", "values"},
    {"trace"},
    {"errors"},
    {"digest"},
    {"linux"},
    {"oci", "tar", "workers"},
    {"disk", "registry", "trust"},
    {"graph", "trees"},
    {"mounts"},
    {"store"},
    {"rootfs", "transport"},
    {"maintenance", "runtime", "sync"},
    {"pipeline"},
    {"api"},
    {"cli"},
]
_BASE = {"pattern", "values"}
NARROWER = {"linux": _BASE, "oci": _BASE | {"errors", "digest"}, "tar": _BASE | {"errors", "digest"}}
"""Packages that may import less than their place allows."""


def allowed(package):
    """The packages that *package* may import, besides itself."""
    if package in NARROWER:
        return NARROWER[package]
    before = set()
    for rank in ORDER:
        if package in rank:
            return before
        before |= rank
    raise AssertionError(f"arstore/{package} has no place in the order")


@functools.cache
def sources():
    """Every module by its dotted name, as a syntax tree."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = [PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = (ast.parse(path.read_text(), str(path)), path.name == "__init__.py")
    return found


@functools.cache
def statements(tree):
    """The imports in *tree*, wherever they are."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def imports(name, tree, is_package, modules):
    """The names of modules that *tree* imports: those of arstore in full, others up to the first dot."""
    found = set()
    for node in statements(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        else:
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in modules else base)
    return {one if one.split(".")[0] == "arstore" else one.split(".")[0] for one in found}


def package_of(module):
    """The package (or the top module) of a module; "" for arstore itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def violations(modules):
    """Every import against the order, as text."""
    found = []
    for name, (tree, is_package) in modules.items():
        package = package_of(name)
        known = {package_of(one) for one in imports(name, tree, is_package, modules) if one.split(".")[0] == "arstore"}
        if package == "":
            # It exports the library's names, each loaded at its first use.
            wrong = known & {"cli", "__main__"}
        elif package == "__main__":
            wrong = known - {"cli", ""}
        else:
            wrong = known - allowed(package) - {package, ""}
        found += [f"{name} imports {one}" for one in sorted(wrong)]
    return found


def cycle(modules):
    """The modules of a cycle of imports; an empty list if there is none."""
    edges = {
        name: {one for one in imports(name, *parsed, modules) if one in modules and one != name}
        for name, parsed in modules.items()
        if name != "arstore"
    }
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_packages_import_only_those_before_them():
    assert violations(sources()) == []


def test_no_cycle_of_modules():
    assert cycle(sources()) == []


MOST_FILES = 20
"""The most files of a folder, without `__init__.py`."""


def test_folders_can_be_looked_over():
    folders = Counter(path.parent for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    assert {str(one): count for one, count in folders.items() if count > MOST_FILES} == {}


def test_no_room_is_the_whole_house():
    lines = Counter()
    for path in PACKAGE.rglob("*.py"):
        lines[path.relative_to(PACKAGE).parts[0]] += len(path.read_text().splitlines())
    assert {room: count for room, count in lines.items() if count > lines.total() / 5} == {}


def test_every_package_says_what_is_in_it():
    silent = [path.parent for path in PACKAGE.rglob("*.py") if not (path.parent / "__init__.py").exists()]
    assert silent == []
    for path in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_only_cli_imports_click():
    modules = sources()
    users = {package_of(name) for name, parsed in modules.items() if "click" in imports(name, *parsed, modules)}
    assert users <= {"cli"}


def exits(tree):
    """Whether *tree* ends the process by name: sys.exit, exit, quit or SystemExit."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in {"SystemExit", "exit", "quit"}:
            return True
        if isinstance(node, ast.Attribute) and node.attr == "exit" and ast.unparse(node.value) == "sys":
            return True
    return False


def test_only_cli_exits():
    assert [name for name, (tree, _) in sources().items() if exits(tree) and package_of(name) != "cli"] == []


# --- the checks themselves can fail ---------------------------------------------------------------------------------


def parsed(**texts):
    """Modules given as text, by dotted name with `_` for the dots after arstore."""
    named = {"arstore." + name.replace("_", "."): (ast.parse(text), False) for name, text in texts.items()}
    return {"arstore": (ast.parse(""), True), **named}


@pytest.mark.parametrize(
    ("module", "text", "expected"),
    [
        ("oci_a", "from arstore.store.b import C", ["arstore.oci.a imports store"]),
        ("oci_a", "from arstore.linux import mount", ["arstore.oci.a imports linux"]),
        ("oci_a", "def f():\n    import arstore.tar.entry", ["arstore.oci.a imports tar"]),
        ("tar_a", "if TYPE_CHECKING:\n    from ..oci import b", ["arstore.tar.a imports oci"]),
        ("linux_a", "from arstore.errors import HostError", ["arstore.linux.a imports errors"]),
        ("trust_a", "import arstore.transport", ["arstore.trust.a imports transport"]),
        ("store_a", "from arstore import cli", []),
        ("cli_a", "from arstore.pipeline import b\nfrom arstore import errors", []),
        ("store_a", "from arstore.store import tree\nfrom . import graph\nimport os", []),
    ],
)
def test_a_wrong_import_is_found(module, text, expected):
    assert violations(parsed(**{module: text})) == expected


def test_the_library_does_not_reach_for_the_command_line():
    modules = {**parsed(cli="", api=""), "arstore": (ast.parse("def f():\n    import arstore.cli, arstore.api"), True)}
    assert violations(modules) == ["arstore imports cli"]


def test_a_name_of_the_package_that_is_a_module_is_found():
    assert violations(parsed(store_a="from arstore import cli", cli="")) == ["arstore.store.a imports cli"]


def test_an_unplaced_package_is_found():
    with pytest.raises(AssertionError, match="arstore/helpers has no place"):
        violations(parsed(helpers_a=""))


def test_a_cycle_is_found():
    modules = parsed(store_a="from arstore.store.b import X", store_b="def f():\n    from arstore.store import a")
    assert set(cycle(modules)) == {"arstore.store.a", "arstore.store.b"}


@pytest.mark.parametrize("text", ["import sys\nsys.exit(1)", "raise SystemExit", "exit()"])
def test_an_exit_is_found(text):
    assert exits(ast.parse(text))
    assert not exits(ast.parse("import os\nos._exit(1)"))
