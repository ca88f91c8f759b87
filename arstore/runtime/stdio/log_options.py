"""`--log-driver` and `--log-opt`: where the output of a detached container goes, and how much of it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import UsageError
from arstore.runtime.spec.sizes import parse_size, shown
from arstore.runtime.stdio.logs import DEFAULT_FILES, DEFAULT_SIZE
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

K8S_FILE, NONE, PASSTHROUGH = "k8s-file", "none", "passthrough"
_DRIVERS = {"": K8S_FILE, K8S_FILE: K8S_FILE, "json-file": K8S_FILE, NONE: NONE, PASSTHROUGH: PASSTHROUGH}
"""podman, too, takes `json-file` for `k8s-file`."""
_ELSEWHERE = {
    "journald": "is not supported: logs are files of the store, so that `arstore du` counts them",
    "passthrough-tty": "is not supported: a container gets its own terminal, never the caller's",
}
_MOST_FILES = 1000


class LogOptions(NamedTuple):
    """The driver, and the limits of the log: bytes of one file, 0 for no limit, and number of files."""

    driver: str = K8S_FILE
    size: int = DEFAULT_SIZE
    files: int = DEFAULT_FILES

    @property
    def is_file(self) -> bool:
        """Whether there is a log."""
        return self.driver == K8S_FILE


def parse_log(driver: str, options: Sequence[str]) -> LogOptions:
    """Return the values of `--log-driver` and of each `--log-opt NAME=VALUE`. Raises UsageError."""
    if driver not in _DRIVERS:
        why = _ELSEWHERE.get(driver, "is not a log driver")
        raise UsageError(f"--log-driver {shown(driver)}", why, "use k8s-file, none or passthrough")
    found = LogOptions(_DRIVERS[driver])
    for text in options:
        name, equals, value = text.partition("=")
        what = f"--log-opt {shown(text)}"
        if name == "max-size" and equals:
            found = found._replace(size=_size(what, value))
        elif name == "max-file" and equals:
            found = found._replace(files=_files(what, value))
        elif name in {"path", "tag"}:
            why = "is not supported: the log is in the container's directory, and goes with the container"
            raise UsageError(what, why, "use max-size or max-file")
        else:
            raise UsageError(what, "is not an option of a log", "write max-size=SIZE or max-file=N")
    return found


def _size(what: str, text: str) -> int:
    if text in {"-1", "0"}:
        return 0
    try:
        return parse_size(text)
    except UsageError as error:
        raise UsageError(what, error.why, "write for example max-size=10m, or max-size=0 for no limit") from None


def _files(what: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:5]) <= _MOST_FILES):
        raise UsageError(what, f"is not a number of files from 1 to {_MOST_FILES}", "write for example max-file=5")
    return int(text)
