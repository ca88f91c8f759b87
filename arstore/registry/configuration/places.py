"""Where the configuration of registries is looked for: the user's directories, and the host's."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from arstore.errors import RegistryConfigError, reason
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST = 16 << 20


class Places(NamedTuple):
    """The environment of one user, and the root of the host's own files (for tests another directory)."""

    environ: Mapping[str, str]
    uid: int
    etc: str = "/etc"
    var: str = "/var"
    run: str = "/run"

    @classmethod
    def here(cls) -> Places:
        """Those of this process."""
        return cls(os.environ, os.geteuid())

    @property
    def home(self) -> str:
        """The user's home directory, "" without one."""
        return self.environ.get("HOME", "")

    @property
    def config(self) -> str:
        """The user's directory of configuration files, "" without one."""
        return self.environ.get("XDG_CONFIG_HOME") or (f"{self.home}/.config" if self.home else "")

    def user_file(self, name: str) -> str:
        """`containers/NAME` in the user's directory; "" without one."""
        return f"{self.config}/containers/{name}" if self.config else ""


def read_file(path: str) -> bytes | None:
    """The content of a configuration file, None when it is not there.

    Raises RegistryConfigError for one that cannot be read, is no file, or is larger than any such file.
    """
    try:
        # A FIFO is refused, not waited for.
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
