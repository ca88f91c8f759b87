"""arstore: a content-addressable container image store with a runtime launcher.

The packages below this one depend on each other in one direction only, which `tests/test_direction.py` enforces:

    {pattern, values} < trace < errors < digest < linux < {oci, tar, workers} < {disk, registry, trust}
    < {graph, trees} < mounts < store < {rootfs, transport} < {maintenance, runtime, sync}
    < pipeline < api < cli

Nothing is imported here that the interpreter has not loaded by itself, so that a command pays only for what it uses.
The names of the library (`__all__`, docs/library.md) are loaded at their first use.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # the interpreter's own, without the enumerations of `signal`
import os
import sys

__version__ = "0.1.0"


def end_at_interrupt() -> None:
    """From now on, end the process with status 130 at an interrupt (SIGINT), unless that is ignored."""
    if _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _leave)


def _leave(*_: object) -> None:
    os._exit(130)


def _is_program() -> bool:
    """Whether this is the start of the program: of its script, or of `python -m arstore`."""
    name = sys.argv[0] if sys.argv else ""
    return name.rpartition("/")[2] == "arstore" or (name == "-m" and "arstore" in sys.orig_argv)


if _is_program():
    # Python would show where an interrupt met it, and nearly all of a short command's time goes into imports.
    end_at_interrupt()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore import errors as errors
    from arstore.api.namespace import Namespace as Namespace
    from arstore.api.namespace import unshare as unshare
    from arstore.api.store import Store as Store
    from arstore.api.values.containers import Container as Container
    from arstore.api.values.containers import NamedVolume as NamedVolume
    from arstore.api.values.containers import PrunedContainers as PrunedContainers
    from arstore.api.values.containers import RemovedVolumes as RemovedVolumes
    from arstore.api.values.containers import Stopped as Stopped
    from arstore.api.values.contents import Difference as Difference
    from arstore.api.values.contents import DuplicateFile as DuplicateFile
    from arstore.api.values.contents import DuplicateGroup as DuplicateGroup
    from arstore.api.values.contents import Duplicates as Duplicates
    from arstore.api.values.contents import Exported as Exported
    from arstore.api.values.contents import Found as Found
    from arstore.api.values.contents import FoundFile as FoundFile
    from arstore.api.values.contents import FoundImage as FoundImage
    from arstore.api.values.contents import FoundObject as FoundObject
    from arstore.api.values.copies import Copied as Copied
    from arstore.api.values.copies import CopiedImage as CopiedImage
    from arstore.api.values.copies import CopiedLayer as CopiedLayer
    from arstore.api.values.images import HistoryStep as HistoryStep
    from arstore.api.values.images import Image as Image
    from arstore.api.values.images import ImageDetails as ImageDetails
    from arstore.api.values.images import Layer as Layer
    from arstore.api.values.images import LayerSizes as LayerSizes
    from arstore.api.values.images import Tagged as Tagged
    from arstore.api.values.images import Untagged as Untagged
    from arstore.api.values.imports import Committed as Committed
    from arstore.api.values.imports import Imported as Imported
    from arstore.api.values.imports import ImportedImage as ImportedImage
    from arstore.api.values.imports import ImportedLayer as ImportedLayer
    from arstore.api.values.imports import MovedName as MovedName
    from arstore.api.values.imports import Skipped as Skipped
    from arstore.api.values.runs import Ended as Ended
    from arstore.api.values.runs import Loaded as Loaded
    from arstore.api.values.runs import Unpacked as Unpacked
    from arstore.api.values.upkeep import Backup as Backup
    from arstore.api.values.upkeep import CheckReport as CheckReport
    from arstore.api.values.upkeep import Finding as Finding
    from arstore.api.values.upkeep import Garbage as Garbage
    from arstore.api.values.upkeep import GcPlan as GcPlan
    from arstore.api.values.upkeep import Removal as Removal
    from arstore.api.values.upkeep import Trimmed as Trimmed
    from arstore.api.values.usage import DiskUsage as DiskUsage
    from arstore.api.values.usage import ImageUsage as ImageUsage
    from arstore.pipeline.load import LoadOptions as LoadOptions
    from arstore.registry.access import RegistryOptions as RegistryOptions
    from arstore.runtime.spec.options import ExecOptions as ExecOptions
    from arstore.runtime.spec.options import RunOptions as RunOptions
    from arstore.runtime.spec.options import Volume as Volume
    from arstore.store.progress import Progress as Progress
    from arstore.tar.limits import Limits as Limits
    from arstore.transport.decryption.keys import DecryptionKeys as DecryptionKeys
    from arstore.transport.export.encryption import Encryption as Encryption
    from arstore.transport.signing.signer import Signer as Signer

_VALUES = {
    "containers": (
        "Container",
        "NamedVolume",
        "PrunedContainers",
        "RemovedVolumes",
        "Stopped",
    ),
    "contents": (
        "Difference",
        "DuplicateFile",
        "DuplicateGroup",
        "Duplicates",
        "Exported",
        "Found",
        "FoundFile",
        "FoundImage",
        "FoundObject",
    ),
    "copies": (
        "Copied",
        "CopiedImage",
        "CopiedLayer",
    ),
    "images": (
        "HistoryStep",
        "Image",
        "ImageDetails",
        "Layer",
        "LayerSizes",
        "Tagged",
        "Untagged",
    ),
    "imports": (
        "Committed",
        "Imported",
        "ImportedImage",
        "ImportedLayer",
        "MovedName",
        "Skipped",
    ),
    "runs": (
        "Ended",
        "Loaded",
        "Unpacked",
    ),
    "upkeep": (
        "Backup",
        "CheckReport",
        "Finding",
        "Garbage",
        "GcPlan",
        "Removal",
        "Trimmed",
    ),
    "usage": (
        "DiskUsage",
        "ImageUsage",
    ),
}

_HOMES = {
    "errors": "arstore",
    "Namespace": "arstore.api.namespace",
    "unshare": "arstore.api.namespace",
    "Store": "arstore.api.store",
    "LoadOptions": "arstore.pipeline.load",
    "RegistryOptions": "arstore.registry.access",
    "ExecOptions": "arstore.runtime.spec.options",
    "RunOptions": "arstore.runtime.spec.options",
    "Volume": "arstore.runtime.spec.options",
    "Progress": "arstore.store.progress",
    "Limits": "arstore.tar.limits",
    "DecryptionKeys": "arstore.transport.decryption.keys",
    "Encryption": "arstore.transport.export.encryption",
    "Signer": "arstore.transport.signing.signer",
    **{name: f"arstore.api.values.{module}" for module, names in _VALUES.items() for name in names},
}
"""Where the names of the library are defined."""

__all__ = ["__version__", "open", *_HOMES]


def open(
    root: str | os.PathLike[str] | None = None,
    runroot: str | os.PathLike[str] | None = None,
    additional_stores: Sequence[str | os.PathLike[str]] = (),
    *,
    policy: str | os.PathLike[str] | None = None,
    require_signatures: bool = False,
    config: str | os.PathLike[str] | None = None,
) -> Store:
    """Return the store in *root*, by default this user's, as a context manager. See `arstore.api.store.Store`."""
    from arstore.api.store import Store

    return Store(root, runroot, additional_stores, policy=policy, require_signatures=require_signatures, config=config)


def __getattr__(name: str) -> object:
    """Load a name of the library when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = _HOMES[name]
    found = import_module("arstore.errors") if name == "errors" else getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
