"""Tree formats are known by name only inside `arstore.trees`: other code asks for a declared property."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest

from arstore.trees.forms import FORMS, INDEX, MERGED, MERGED_INDEX, TAR

PACKAGE = Path(__file__).resolve().parent.parent / "arstore"
NAMES = frozenset({*FORMS, MERGED.name})
FILES = frozenset({TAR, INDEX, MERGED_INDEX})
"""Files that only a tree has: code that spells such a name depends on how a format keeps its trees."""

OTHERS = {
    ("api/info/host.py", "erofs"): "the kernel's file system",
    ("api/info/mounting.py", "erofs"): "the kernel's file system",
    ("cli/images/unpack.py", "directory"): "an argument of the command",
    ("cli/manual/command.py", "directory"): "an argument of the command",
    ("cli/upkeep/backup.py", "directory"): "an argument of the command",
    ("cli/upkeep/usage_tree.py", "directory"): "a part of the disk usage",
    ("cli/upkeep/usage_words.py", "directory"): "a part of the disk usage",
    ("maintenance/breakdown/directories.py", "directory"): "a part of the disk usage",
    ("transport/media/archive.py", "layer.tar"): "a member of a docker-archive",
    ("transport/sinks/docker_archive.py", "layer.tar"): "a member of a docker-archive",
}
"""Modules in which the word means something else."""


def spelled(tree, words=NAMES | FILES):
    """The *words* that are string constants of *tree*, or begin or end a path in one, except in docstrings."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            parts = text.split("/")
            found |= words & ({text} | ({parts[0], parts[-1]} & FILES))
    return found


@functools.cache
def spelled_in(package):
    """The words that modules below *package* spell, by their path in it; the formats' modules are in `trees/`."""
    return {
        (str(name), word)
        for path in sorted(package.rglob("*.py"))
        if (name := path.relative_to(package)).parts[0] != "trees"
        for word in spelled(ast.parse(path.read_text(), str(path)))
    }


def test_only_trees_spells_the_names_of_forms():
    assert spelled_in(PACKAGE) - OTHERS.keys() == set()


def test_the_list_of_other_meanings_has_no_leftovers():
    assert OTHERS.keys() - spelled_in(PACKAGE) == set()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('if record.form == "erofs":\n    pass', {"erofs"}),
        ("forms = {'directory'}", {"directory"}),
        ('Record(form="merged")', {"merged"}),
        ('FORM = "directory"\n"""The form."""', {"directory"}),
        ('path = f"{tree}/layer.tar"', {"layer.tar"}),
        ('os.stat("layer.erofs", dir_fd=fd)', {"layer.erofs"}),
        ('name == b"erofs" or name.endswith(b"/layer.tar")', {"erofs", "layer.tar"}),
        ('"""Keeps layer.tar in erofs."""', set()),
        ("from arstore.trees.forms import EROFS\nname = EROFS.name", set()),
        ('kind = "a directory"', set()),
    ],
)
def test_a_name_is_found(text, expected):
    assert spelled(ast.parse(text)) == expected
