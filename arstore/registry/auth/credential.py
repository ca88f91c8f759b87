"""Credentials: a name and a password, or an identity token. They are never printed."""

from __future__ import annotations

from arstore.errors import UsageError


class Credential:
    """A user name with a password, or an identity token (an OAuth2 refresh token) in place of the password."""

    __slots__ = ("identity_token", "password", "user")

    def __init__(self, user: str, password: str, identity_token: str = "") -> None:
        self.user = user
        self.password = password
        self.identity_token = identity_token

    @classmethod
    def parse(cls, text: str) -> Credential:
        """Parse `USER:PASSWORD` of `--creds`. Raises UsageError, which does not repeat the text."""
        user, colon, password = text.partition(":")
        if not colon or not user:
            raise UsageError("--creds", "is not of the form USER:PASSWORD")
        return cls(user, password)

    @property
    def basic(self) -> str:
        """The value of an Authorization header for Basic (RFC 7617); "" unless there is a name and a password."""
        if not (self.user and self.password):
            return ""
        from base64 import b64encode

        return f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode('ascii')}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Credential):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.user, self.password, self.identity_token))

    def __repr__(self) -> str:
        return "Credential(…)"
