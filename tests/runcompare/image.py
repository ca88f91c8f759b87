"""The images that both programs run."""

from __future__ import annotations

from pathlib import Path

from support import images

PROBE = Path(__file__).with_name("probe.sh")
ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "FROM_IMAGE=yes")
APPLETS = (
    "cat",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "echo",
    "env",
    "false",
    "find",
    "grep",
    "head",
    "hostname",
    "id",
    "ip",
    "kill",
    "ls",
    "mkdir",
    "mkfifo",
    "mount",
    "mv",
    "nc",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "sed",
    "seq",
    "setpriv",
    "sh",
    "sleep",
    "sort",
    "stat",
    "stty",
    "tail",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "tty",
    "umount",
    "uname",
    "wc",
    "wget",
    "yes",
)
_PASSWD = b"""root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
games:x:5:60:games:/usr/games:/bin/false
app:x:1000:1000:the application:/home/app:/bin/sh
homeless:x:1001:1001::/nonexistent:/bin/sh
"""
_GROUP = b"""root:x:0:
daemon:x:1:
games:x:60:
audio:x:29:app
app:x:1000:
homeless:x:1001:
crew:x:2000:app,homeless
"""
RICH = {
    "Env": [*ENVIRONMENT, "HOME=/work/home", "LANG=C.UTF-8"],
    "User": "app:crew",
    "WorkingDir": "/work/made",
    "Entrypoint": ["/bin/entry"],
    "Cmd": ["default"],
    "Volumes": {"/data": {}},
    "ExposedPorts": {"8080/tcp": {}},
    "Labels": {"of.image": "yes"},
    "StopSignal": "SIGUSR1",
}


def write(place: Path, busybox: Path) -> dict[str, Path]:
    """Write an archive of each image to the directory *place*, and return the paths by the images' names.

    `plain` has nothing but PATH, a variable and a command; `rich` has a user, a directory, an entrypoint, a volume, a
    stop signal and labels; `bare` has an empty config.
    """
    layer = images.layer(_members(busybox.read_bytes()))
    found = {}
    for name, config in {"plain": {"Env": ENVIRONMENT, "Cmd": ["sh"]}, "rich": RICH, "bare": {}}.items():
        found[name] = place / f"{name}.tar"
        picture = images.image(layer, names=[f"localhost/{name}:latest"], config=config)
        images.write_oci_archive(found[name], picture)
    return found


def _members(busybox: bytes) -> list[images.Member]:
    app = {"uid": 1000, "gid": 1000}
    places = ("bin", "etc", "dev", "proc", "sys", "run", "var", "root", "home", "usr", "usr/bin", "usr/share", "work")
    members = [images.directory("./"), *(images.directory(name) for name in places)]
    members += [images.directory(name, 0o1777) for name in ("tmp", "var/tmp")]
    members.append(images.file("bin/busybox", busybox, 0o755))
    members += [images.symlink(f"bin/{name}", "busybox") for name in APPLETS]
    members += [
        images.file("bin/probe", PROBE.read_bytes(), 0o755),
        images.file("bin/entry", b'#!/bin/sh\necho "entry: $*"\n[ "$1" != probe ] || exec probe\n', 0o755),
        images.file("bin/not-executable", b"#!/bin/sh\n", 0o644),
        images.file("bin/no-interpreter", b"#!/nonexistent\n", 0o755),
        images.file("bin/no-format", b"neither a script nor a program\0", 0o755),
        images.file("etc/passwd", _PASSWD),
        images.file("etc/group", _GROUP),
        images.directory("home/app", 0o750, **app),
        images.directory("work/private", 0o700),
        images.symlink("work/link", "/home/app"),
        images.directory("data", 0o750, **app),
        images.file("data/content", b"of the image\n", 0o640, **app),
    ]
    return members
