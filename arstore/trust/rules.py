"""The signature policy of a command, from its options; the policy file is read once, on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import RejectedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.trust.policy.material import Material
    from arstore.trust.policy.model import Policy
    from arstore.trust.policy_file import PolicyFile


class Rules:
    """The policy that applies to one command.

    *file* is the policy file that the user named, "" for the default ones. With *require_signatures*, an image without
    a signature that the policy requires is refused. `tell` is called once if a policy file does not exist.
    """

    def __init__(
        self, file: str = "", require_signatures: bool = False, tell: Callable[[str], object] | None = None
    ) -> None:
        self.require_signatures = require_signatures
        self._file = file
        self._tell = tell
        self._policy: Policy | None = None
        self._material: Material | None = None
        self._is_open: bool | None = None
        self._is_loaded = False
        self._policy_file: PolicyFile | None = None
        self._is_found = False
        self._fingerprint: str | None = None

    @classmethod
    def of(cls, policy: Policy) -> Rules:
        """Rules with a policy that does not come from a file."""
        made = cls()
        made._policy, made._is_loaded, made._is_open = policy, True, False
        return made

    @property
    def is_open(self) -> bool:
        """Whether every image from every source is accepted. Raises PolicyError."""
        if self._is_open is None:
            self._is_open = not self.require_signatures and self._looks_open()
        return self._is_open

    @property
    def _found(self) -> PolicyFile | None:
        """The policy file that applies, read once. Raises PolicyError."""
        if not self._is_found:
            from arstore.trust.policy_file import find_file

            self._policy_file = find_file(self._file)
            self._is_found = True
            if self._policy_file is None and self._tell is not None and not self.require_signatures:
                self._tell("no signature policy was found, so every image is accepted")
        return self._policy_file

    @property
    def policy(self) -> Policy | None:
        """The policy; None if there is no file. Raises PolicyError."""
        if not self._is_loaded:
            from arstore.trust.policy_file import parse

            found = self._found
            self._policy = None if found is None else parse(found)
            self._is_loaded = True
        return self._policy

    @property
    def material(self) -> Material:
        """The key files that the policy names, each read once."""
        if self._material is None:
            from arstore.trust.policy.material import Material

            self._material = Material()
        return self._material

    def fingerprint(self) -> str:
        """Identify the policy with the content of its key files, and whether signatures are required."""
        if self._fingerprint is None:
            base = "" if self.policy is None else self.material.fingerprint(self.policy)
            self._fingerprint = f"{base}{'+' if self.require_signatures else ''}"
        return self._fingerprint

    def refuse_unsigned(self, transport: str, what: str) -> None:
        """Raise RejectedError unless images that cannot have signatures are accepted from *transport*."""
        if self.is_open:
            return
        from arstore.trust.policy.model import ACCEPT
        from arstore.trust.policy.scope import find, unnamed_subject

        if self.policy is None or self.require_signatures:
            raise RejectedError(what, f"signatures are required, but {transport} cannot have any")
        found = find(self.policy, unnamed_subject(transport))
        if any(one != ACCEPT for one in found.requirements):
            why = f"{found.section} of the policy requires signatures, but {transport} cannot have any"
            raise RejectedError(what, why, "`arstore policy explain` shows how the policy was applied")

    def _looks_open(self) -> bool:
        from arstore.trust.policy_file import accepts_everything

        found = self._found
        return found is None or accepts_everything(found.data)
