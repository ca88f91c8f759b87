"""Directories in which the configuration of registries is looked up: the user's, and the host's."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Protocol

from arstore.errors import RegistryConfigError, reason
from arstore.linux.isolation.user_namespace import acting_uid
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_MOST = 16 << 20


class Kept(Protocol):
    """Parsed forms of files, by path and by the status that the file had (`api.config.cache`)."""

    def recall(self, path: str, status: os.stat_result) -> dict[str, Any] | None:
        """Return the values of the file if it is still the same one."""

    def remember(self, path: str, status: os.stat_result, values: dict[str, Any]) -> None:
        """Keep the values, which are JSON, if that is possible."""


class Places(NamedTuple):
    """The environment of one user, and the root of the host's own files (another directory in tests).

    `kept` has parsed files; with None, every file is parsed.
    """

    environ: Mapping[str, str]
    uid: int
    etc: str = "/etc"
    var: str = "/var"
    run: str = "/run"
    kept: Kept | None = None

    @classmethod
    def here(cls) -> Places:
        """The places for this process."""
        return cls(os.environ, acting_uid())

    @property
    def home(self) -> str:
        """The user's home directory; "" if there is none."""
        return self.environ.get("HOME", "")

    @property
    def config(self) -> str:
        """The user's directory of configuration files; "" if there is none."""
        return self.environ.get("XDG_CONFIG_HOME") or (f"{self.home}/.config" if self.home else "")

    def user_file(self, name: str) -> str:
        """`containers/NAME` in the user's directory; "" if there is none."""
        return f"{self.config}/containers/{name}" if self.config else ""


def read_file(path: str) -> bytes | None:
    """The content of a configuration file; None if it does not exist.

    Raises RegistryConfigError if it cannot be read, is not a file, or is larger than a configuration file can be.
    """
    try:
        # O_NONBLOCK: a FIFO is refused instead of waited for.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) and path not in {"/dev/null", "/dev/stdin"}:
                raise RegistryConfigError(path, "is not a file")
            os.set_blocking(file.fileno(), True)
            data = file.read(_MOST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError as error:
        raise RegistryConfigError(path, "is a directory") from error
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "is not a path"
        raise RegistryConfigError(path, f"cannot be read: {why}") from error
    if len(data) > _MOST:
        raise RegistryConfigError(path, f"has more than {_MOST} bytes")
    return data
