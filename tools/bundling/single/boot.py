"""The module `arstore` of the single file: it puts the unpacked package in its own place.

Every start runs it, so it imports only what the interpreter has loaded by then. Old versions of Python run it too, and
have to find out that they are too old.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

KEY = "@KEY@"
"""Names what the file holds: the version, and the beginning of a digest."""
MINORS: "tuple[int, ...]" = ()  # @MINORS@
"""The second numbers of the versions of Python that the file has modules for."""


def fail(what: str, why: str, hint: str) -> "NoReturn":
    """Print an error and end the process with the status for errors of the host."""
    os.write(2, os.fsencode(f"arstore: {what}: {why}; {hint}\n"))
    os._exit(40)


def tag() -> str:
    """The name of this Python in wheels, such as cp313; "" if the file has no modules for it."""
    supported = sys.implementation.name == "cpython" and sys.version_info[0] == 3 and sys.version_info[1] in MINORS
    free_threaded = "t" in getattr(sys, "abiflags", "")
    return f"cp3{sys.version_info[1]}" if supported and not free_threaded else ""


def places() -> "Iterator[str]":
    """The directories that may hold unpacked files, best first."""
    chosen = os.environ.get("ARSTORE_BUNDLE_CACHE")
    if chosen:
        yield os.path.abspath(chosen)
        return
    uid = os.geteuid()
    if uid == 0:
        yield "/var/cache/arstore-bundle"
    home = os.environ.get("HOME", "")
    cache = os.environ.get("XDG_CACHE_HOME", "") or (home and home + "/.cache")
    if cache.startswith("/"):
        yield cache + "/arstore-bundle"
    for parent in ("/var/tmp", "/tmp", "/dev/shm"):
        yield f"{parent}/arstore-bundle-{uid}"


def is_safe(place: str) -> bool:
    """Return whether only root and this user can change what is at *place*. Raises OSError, if nothing is there.

    The owner of the root directory counts as root: in a user namespace it is how root's files look.
    """
    trusted = (0, os.geteuid(), os.lstat("/").st_uid)
    path = place = os.path.realpath(place)
    while True:
        info = os.lstat(path)
        shared = info.st_mode & 0o022 and (path == place or not info.st_mode & 0o1000)
        if info.st_uid not in trusted or shared:
            return False
        if path == "/":
            return True
        path = os.path.dirname(path)


def unpacked(name: str) -> str:
    """Return the directory with the modules; "" if there is none yet."""
    for place in places():
        try:
            if is_safe(f"{place}/{name}"):
                return f"{place}/{name}"
        except OSError:
            pass
    return ""


def other_python(archive: str) -> "NoReturn":
    """Run the archive with a Python that it has modules for, if there is one on PATH; fail otherwise."""
    if __name__ == "arstore" and sys.argv[0] == "arstore" and not os.environ.pop("ARSTORE_BUNDLE_TRIED", ""):
        for minor in sorted(MINORS, reverse=True):
            for directory in os.get_exec_path():
                program = os.path.join(directory, f"python3.{minor}")
                if os.access(program, os.X_OK):
                    os.environ["ARSTORE_BUNDLE_TRIED"] = "yes"
                    os.execv(program, [program, "-I", "-S", archive, *sys.argv[1:]])
    supported = ", ".join(f"3.{minor}" for minor in MINORS)
    this = "{} {}.{}".format(sys.implementation.name, *sys.version_info)
    fail(sys.executable, f"this is {this}, and the file is for CPython {supported}", "install one of these versions")


def start() -> None:
    """Put the unpacked package into the place of this module, and its directory into the place of the archive."""
    archive = os.path.dirname(os.path.abspath(__file__))
    version = tag()
    if not version:
        other_python(archive)
    os.environ.pop("ARSTORE_BUNDLE_TRIED", None)
    name = f"{KEY}-{version}"
    directory = unpacked(name)
    if not directory:
        from arstore_unpack import unpack  # type: ignore[import-not-found]

        directory = unpack(archive, version, name)
    mine = [entry for entry in sys.path if os.path.abspath(entry) == archive]
    sys.path[:] = [directory if entry in mine[:1] else entry for entry in sys.path if entry not in mine[1:]]
    # It has another name if it is run by `python -m arstore`, with the archive in PYTHONPATH.
    sys.modules.pop("arstore", None)
    import arstore  # noqa: F401 - stays in sys.modules, and is what an import of this module gives


start()
if __name__ == "__main__":
    from arstore.__main__ import main

    main()
