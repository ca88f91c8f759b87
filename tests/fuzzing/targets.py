"""All targets, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuzzing import archives, documents, encryption, files, indexes, policies, registries, running, signatures

if TYPE_CHECKING:
    from fuzzing.target import Target

_GROUPS = (
    archives.TARGETS,
    indexes.TARGETS,
    documents.TARGETS,
    files.TARGETS,
    running.TARGETS,
    registries.TARGETS,
    encryption.TARGETS,
    signatures.TARGETS,
    policies.TARGETS,
)
TARGETS: dict[str, Target] = {target.name: target for group in _GROUPS for target in group}
