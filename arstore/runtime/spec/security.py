"""Rights of a container as values: `--security-opt`, `--cap-add`, `--cap-drop` and `--privileged`.

The syntax is docker's and podman's. `label=` and `apparmor=unconfined` are accepted without effect, because arstore
gives containers no SELinux label and no AppArmor profile. An image cannot ask for any of this.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import UsageError
from arstore.runtime.spec.capabilities import granted, parse_capability
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

UNCONFINED = "unconfined"
_HINT = (
    "use seccomp=FILE|unconfined|default, no-new-privileges, unmask=ALL|PATH[:PATH...], mask=PATH[:PATH...], "
    "label=disable or apparmor=unconfined"
)


class Security(NamedTuple):
    """The rights of a container. `seccomp` is "" for the default profile, `unconfined`, or the path of a file."""

    added: tuple[str, ...] = ()
    """Capabilities as `capabilities.parse_capability` returns them."""
    dropped: tuple[str, ...] = ()
    privileged: bool = False
    """All capabilities and devices, no seccomp, nothing masked."""
    no_new_privileges: bool = False
    seccomp: str = ""
    unmasked: tuple[str, ...] = ()
    """Paths that are neither masked nor read-only; `ALL` for all of them."""
    masked: tuple[str, ...] = ()
    """Additional masked paths."""

    def capabilities(self, available: int) -> tuple[str, ...]:
        """Return the container's capabilities, out of the bit mask *available*."""
        return granted(self.added, self.dropped, available, self.privileged)

    def shows(self, path: str) -> bool:
        """Whether *path*, which is usually masked or read-only, is neither."""
        return self.privileged or "ALL" in self.unmasked or path in self.unmasked


def parse_security(
    options: Sequence[str], added: Sequence[str] = (), dropped: Sequence[str] = (), privileged: bool = False
) -> Security:
    """Return the rights in these options of the command line; a later option wins. Raises UsageError."""
    seccomp, no_new_privileges = "", False
    masked: list[str] = []
    unmasked: list[str] = []
    for text in options:
        name, separator, value = text.partition("=") if "=" in text else text.partition(":")
        if name == "seccomp" and value:
            # The launcher reads the file later, from another directory.
            kinds = {"default": "", UNCONFINED: UNCONFINED}
            seccomp = kinds[value] if value in kinds else os.path.abspath(value)
        elif name == "no-new-privileges" and value in {"", "true", "false"}:
            no_new_privileges = value != "false"
        elif name in {"mask", "unmask"} and value:
            (masked if name == "mask" else unmasked).extend(_paths(value, text))
        elif not (name == "label" and separator) and (name, value) != ("apparmor", UNCONFINED):
            from arstore.oci.document import shown

            raise UsageError(shown(text), "not a security option", _HINT)
    return Security(
        added=tuple(dict.fromkeys(map(parse_capability, added))),
        dropped=tuple(dict.fromkeys(map(parse_capability, dropped))),
        privileged=privileged,
        no_new_privileges=no_new_privileges,
        seccomp=seccomp,
        masked=tuple(masked),
        unmasked=tuple(unmasked),
    )


def _paths(value: str, text: str) -> list[str]:
    paths = value.split(":")
    if any(not path.startswith("/") and path != "ALL" for path in paths):
        from arstore.oci.document import shown

        raise UsageError(shown(text), "every path must be absolute", _HINT)
    return paths
