"""Versions: arstore, Python and the libraries."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata

import arstore
from arstore.graph.graph import FORMAT

_DISTRIBUTION = "arstore"
_OPTIONAL = ("pysequoia", "PyNaCl")
_LIBRARIES = ("click", "lmdb", "blake3", "cryptography", "rich", "PyYAML", "zlib-ng", "isal", "backports.zstd")


def versions() -> dict[str, object]:
    """Return the versions; None for a library that is not installed."""
    return {
        "arstore": arstore.__version__,
        "store_format": FORMAT,
        "python": f"{platform.python_version()} ({sys.implementation.name})",
        "libraries": {name: _version(name) for name in (*_libraries(), *_OPTIONAL)},
    }


def _libraries() -> list[str]:
    """Return the names of the libraries that arstore is declared to need on this host."""
    try:
        declared = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return list(_LIBRARIES)
    found = [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in declared if "extra ==" not in text]
    return found or list(_LIBRARIES)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
