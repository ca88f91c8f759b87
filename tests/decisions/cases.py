"""The table: policies, and images by the names that users give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from decisions import file_cases, key_cases, name_cases, scope_cases
from decisions.policies import INDEX, OWN, Case

if TYPE_CHECKING:
    from decisions.material import Material

__all__ = ["INDEX", "OWN", "Case", "cases"]


def cases(material: Material) -> list[Case]:
    """The whole table, in order."""
    return [
        *file_cases.files(material),
        *file_cases.lists(),
        *scope_cases.scopes(),
        *name_cases.identities(),
        *key_cases.keys(material),
        *key_cases.indexes(),
    ]
