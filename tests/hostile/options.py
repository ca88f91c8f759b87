"""Options of `run` that open a way to the host, with images and files that try to take it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from support.images import device, directory, fifo, file, symlink

from arstore.linux.isolation import user_namespace
from hostile.case import FORMS, NAME, Case, up
from hostile.hosts import ANY, BROKEN, bring_box

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support import images

    from hostile.trial import Trial

TRUE = (NAME, "true")
DEVICE = BROKEN if user_namespace.is_initial() else (0,)
"""Statuses for a device that is read: a user namespace has an empty file in its place."""
MAPS = () if user_namespace.is_initial() else BROKEN
"""Statuses of a container with mapped ids, which only the host's root can have; () where they depend on the case."""
MAPPED = ("--uidmap", "0:100000:65536")


def _nothing(_out: str) -> list[images.Member]:
    return []


def _way(out: str) -> list[images.Member]:
    return [symlink("w", out), symlink("u", up(out))]


def _run(
    statuses: tuple[int, ...],
    *words: str,
    make: Callable[[str], list[images.Member]] = _nothing,
    before: Callable[[Trial], object] | None = None,
    after: Callable[[Trial], object] | None = None,
) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        out, here = str(trial.victim.path), str(trial.source)
        bring_box(trial, *make(out))
        if before is not None:
            before(trial)
        done = trial.run("run", *(word.replace("{out}", out).replace("{here}", here) for word in words))
        if done.status not in statuses:
            trial.wrong(f"run ended with {done.status}, not {statuses}: {done.last[-300:]}")
        if done.status in BROKEN and not done.last.startswith("arstore: "):
            trial.wrong(f"not one line for people: {done.err[-300:]!r}")
        if b"precious\n" in done.out or b"key\n" in done.out:
            trial.wrong(f"the command printed {done.out[:200]!r}")
        if after is not None:
            after(trial)

    return attempt


def _filled(script: str) -> Callable[[Trial], object]:
    """Let a container write what it likes into the volume `v`."""

    def prepare(trial: Trial) -> None:
        out = str(trial.victim.path)
        trial.must("run", "-v", "v:/v", NAME, "sh", "-c", script.replace("{out}", out))

    return prepare


def _link(name: str, target: str) -> Callable[[Trial], object]:
    def prepare(trial: Trial) -> None:
        (trial.source / name).symlink_to(target.replace("{out}", str(trial.victim.path)))

    return prepare


def _hooks(document: Any) -> Callable[[Trial], object]:
    def prepare(trial: Trial) -> None:
        (trial.source / "hooks").mkdir()
        text = document if isinstance(document, str) else json.dumps(document)
        (trial.source / "hooks/one.json").write_text(text.replace("{out}", str(trial.victim.path)))

    return prepare


def _named(trial: Trial) -> None:
    trial.expect("the host's name", os.uname().nodename == "escaped", False)


_LINKS = "ln -s {out} /v/l; ln -s / /v/root; ln -s ../../../../../../../.. /v/up; ln -s {out}/precious /v/f; mkdir /v/d"
_SHM = "test ! -e /dev/shm/escaped && echo x > /dev/shm/escaped; rm -f /dev/shm/escaped"

ROWS: dict[str, Callable[[Trial], None]] = {
    "--volume through a symlink": _run(ANY, "-v", "v:/w/escaped", *TRUE, make=_way),
    "--volume through a symlink up": _run(ANY, "-v", "v:/u/escaped", *TRUE, make=_way),
    "--volume at a symlink": _run(ANY, "-v", "v:/w", NAME, "sh", "-c", "echo x > /w/escaped; ls /w", make=_way),
    "--volume filled from a symlink": _run((1,), "-v", "v:/w/private", NAME, "cat", "/w/private/key", make=_way),
    "--volume filled with devices": _run(
        (0, 1),
        "-v",
        "v:/data",
        NAME,
        "sh",
        "-c",
        "cat /data/null > /dev/null",
        make=lambda _: [directory("data"), device("data/null", "c", 1, 3, 0o666)],
    ),
    "--volume with O at a symlink": _run(ANY, "-v", "{here}:/w/escaped:O", *TRUE, make=_way),
    "--volume with U and symlinks in it": _run((0,), "-v", "v:/v:U", "-u", "5:5", *TRUE, before=_filled(_LINKS)),
    "--volume with U at a link": _run(BROKEN, "-v", "{here}/l:/v:U", *TRUE, before=_link("l", "{out}")),
    "--volume that is shared": _run(BROKEN, "-v", "{out}:/v:rshared", *TRUE),
    "--mount of a file system through a symlink": _run(ANY, "--mount", "type=tmpfs,dst=/w/escaped", *TRUE, make=_way),
    "--mount of an image with devices": _run(
        (1,),
        "--mount",
        f"type=image,src={NAME},dst=/m",
        NAME,
        "sh",
        "-c",
        "[ -c /m/data/zero ] && cat < /m/data/zero",
        make=lambda _: [directory("data"), device("data/zero", "c", 1, 5, 0o666)],
    ),
    "--mount of an image at a symlink": _run(ANY, "--mount", f"type=image,src={NAME},dst=/w/escaped", *TRUE, make=_way),
    "--mount of a writable image": _run(
        (0,), "--mount", f"type=image,src={NAME},dst=/m,rw", NAME, "sh", "-c", "echo x > /m/bin/escaped"
    ),
    "--mount of a part that leads outside": _run(
        BROKEN, "--mount", "type=volume,src=v,dst=/m,subpath=l/private", *TRUE, before=_filled(_LINKS)
    ),
    "--mount of a part that is a link to a file": _run(
        BROKEN, "--mount", "type=volume,src=v,dst=/m,subpath=f", NAME, "cat", "/m", before=_filled(_LINKS)
    ),
    "--mount of a part that leads up": _run(
        (0,), "--mount", "type=volume,src=v,dst=/m,subpath=up", NAME, "sh", "-c", "ls /m/d", before=_filled(_LINKS)
    ),
    "--tmpfs through a symlink": _run(ANY, "--tmpfs", "/w/escaped", *TRUE, make=_way),
    "--volumes-from a path": _run(BROKEN, "--volumes-from", "../../../{out}", *TRUE),
    "--cidfile that is a symlink": _run(BROKEN, "--cidfile", "{here}/l", *TRUE, before=_link("l", "{out}/precious")),
    "--pidfile that is a symlink": _run(BROKEN, "--pidfile", "{here}/l", *TRUE, before=_link("l", "{out}/precious")),
    "--hooks-dir with no hook": _run(BROKEN, "--hooks-dir", "{here}/hooks", *TRUE, before=_hooks("{")),
    "--hooks-dir with a relative program": _run(
        BROKEN,
        "--hooks-dir",
        "{here}/hooks",
        *TRUE,
        before=_hooks({"version": "1.0.0", "hook": {"path": "sh"}, "when": {"always": True}, "stages": ["prestart"]}),
    ),
    "--hooks-dir asked by an image": _run(
        (0,),
        "--hooks-dir",
        "{here}/hooks",
        *TRUE,
        before=_hooks(
            {
                "version": "1.0.0",
                "hook": {"path": "/bin/touch", "args": ["touch", "{out}/escaped"]},
                "when": {"annotations": {"^org.example.hook$": ".*"}},
                "stages": ["prestart"],
            }
        ),
    ),
    "--pid host": _run(BROKEN, "--pid", "host", *TRUE),
    "--pid of a container": _run(BROKEN, "--pid", "container:before", *TRUE),
    "--ipc host": _run((0, 1), "--ipc", "host", NAME, "sh", "-c", _SHM),
    "--uts host": _run((0, 1), "--uts", "host", NAME, "busybox", "hostname", "escaped", after=_named),
    "--uts host with a name": _run(BROKEN, "--uts", "host", "-h", "escaped", *TRUE, after=_named),
    "--userns of a path": _run(BROKEN, "--userns", "ns:/proc/1/ns/user", *TRUE),
    "--sysctl of the host": _run(BROKEN, "--sysctl", "kernel.core_pattern=|{out}/program", *TRUE),
    "--sysctl up": _run(BROKEN, "--sysctl", "net/../kernel/core_pattern=x", *TRUE),
    "--sysctl of the host's network": _run(BROKEN, "--network", "host", "--sysctl", "net.ipv4.ip_forward=1", *TRUE),
    "--sysctl of the host's name": _run(
        BROKEN, "--uts", "host", "--sysctl", "kernel.domainname=escaped", *TRUE, after=_named
    ),
    "--cgroup-parent up": _run(BROKEN, "--cgroup-parent", "/a/../../escaped", *TRUE),
    "--cgroup-conf of the processes": _run(BROKEN, "--cgroup-conf", "cgroup.procs=1", *TRUE),
    "--cgroupns host": _run((0,), "--cgroupns", "host", NAME, "sh", "-c", "ls /sys/fs/cgroup"),
    "--tz with a link for localtime": _run(
        ANY,
        "--tz",
        "local",
        *TRUE,
        make=lambda out: [directory("etc"), symlink("etc/localtime", f"{out}/precious")],
    ),
    "--tz with a link for etc": _run(ANY, "--tz", "local", *TRUE, make=lambda out: [symlink("etc", out)]),
    "--tz up": _run(BROKEN, "--tz", "../../../{out}/precious", *TRUE),
    "--user without an entry, and a link for passwd": _run(
        (0, 1),
        "-u",
        "1234:1234",
        NAME,
        "sh",
        "-c",
        "echo x >> /etc/passwd; echo x >> /etc/group",
        make=lambda out: [directory("etc"), symlink("etc/passwd", f"{out}/precious"), file("etc/group", b"")],
    ),
    "--user without an entry, and a FIFO for passwd": _run(
        BROKEN, "-u", "1234", *TRUE, make=lambda _: [directory("etc"), fifo("etc/passwd")]
    ),
    "--user without an entry, and a device for group": _run(
        DEVICE, "-u", "1234:1234", *TRUE, make=lambda _: [directory("etc"), device("etc/group", "c", 1, 5, 0o666)]
    ),
    "--passwd-entry with a group beyond all": _run(
        (0,), "-u", "5", "--passwd-entry", f"a:b:5:{'9' * 4000}:c:/:/", *TRUE, make=lambda _: [directory("etc")]
    ),
    "--workdir in a volume, through links": _run(
        ANY, "-v", "v:/v", "-w", "/v/l/escaped", *TRUE, before=_filled(_LINKS)
    ),
    "--workdir in a volume, through links up": _run(
        ANY, "-v", "v:/v", "-w", "/v/up/escaped", *TRUE, before=_filled(_LINKS)
    ),
    "--chrootdirs at a symlink": _run(ANY, "--chrootdirs", "/w", *TRUE, make=_way),
    "--chrootdirs at a symlink up": _run(ANY, "--chrootdirs", "/u", *TRUE, make=_way),
    "--chrootdirs up": _run(ANY, "--chrootdirs", "/../../../{out}", *TRUE),
    "the marker of a container is a symlink": _run(
        ANY, *TRUE, make=lambda out: [directory("run"), symlink("run/.containerenv", f"{out}/precious")]
    ),
    "the directory of the marker is a symlink": _run(ANY, *TRUE, make=lambda out: [symlink("run", out)]),
    "the marker of a container is a directory": _run(
        (0,), *TRUE, make=lambda _: [directory("run"), directory("run/.containerenv")]
    ),
    "--conmon-pidfile that is a symlink": _run(
        BROKEN, "--conmon-pidfile", "{here}/l", *TRUE, before=_link("l", "{out}/precious")
    ),
    "--health-log-destination with a link": _run(
        (0,),
        *("--name", "box", "--health-cmd", "true", "--health-log-destination", "{here}", NAME, "sleep", "1"),
        before=_link("box-healthcheck.log", "{out}/precious"),
    ),
    "--health-log-destination with a link for the new file": _run(
        (0,),
        *("--name", "box", "--health-cmd", "true", "--health-log-destination", "{here}", NAME, "sleep", "1"),
        before=_link("box-healthcheck.log.new", "{out}/precious"),
    ),
    "--health-startup-cmd that ends everything": _run(
        ANY, "--health-cmd", "true", "--health-startup-cmd", "kill -9 -1; kill -9 1", NAME, "sleep", "1"
    ),
    "--requires a path": _run(BROKEN, "--requires", "../../../{out}", *TRUE),
    "--env with a star": _run((0,), "-e", "*", NAME, "env"),
    "--uidmap with a volume through a symlink": _run(ANY, *MAPPED, "-v", "v:/w/escaped", *TRUE, make=_way),
    "--uidmap with the host's private files": _run(
        MAPS or (1, 126), *MAPPED, "-v", "{out}:/o:ro", NAME, "cat", "/o/private/key"
    ),
    "--uidmap with devices": _run(
        MAPS or (1, 2, 126), *MAPPED, NAME, "sh", "-c", "cat < /zero", make=lambda _: [device("zero", "c", 1, 5, 0o666)]
    ),
    "--uidmap with a link for passwd": _run(
        (*ANY, 1),
        *MAPPED,
        *("-u", "1234:1234", NAME, "sh", "-c", "echo x >> /etc/passwd"),
        make=lambda out: [directory("etc"), symlink("etc/passwd", f"{out}/precious"), file("etc/group", b"")],
    ),
    "--uidmap of two users to one": _run(BROKEN, "--uidmap", "0:100000:2,1:300000:1", *TRUE),
    "--uidmap beyond all": _run(BROKEN, "--uidmap", "0:4294967290:100", *TRUE),
    "--subuidname of a path": _run(BROKEN, "--subuidname", "../{out}", *TRUE),
    "--passwd-entry of two lines": _run(BROKEN, "--passwd-entry", "a:b:0:0:c:/:/\nx:y:0:0:z:/:/", *TRUE),
    "--preserve-fd of a file that is not open": _run(BROKEN, "--preserve-fd", "700", *TRUE),
    "--device-cgroup-rule of another kind": _run(BROKEN, "--device-cgroup-rule", "a *:* rwmx", *TRUE),
    "--personality of another kind": _run(BROKEN, "--personality", "0x0008", *TRUE),
}


def cases() -> Iterator[Case]:
    """All of this module."""
    for number, (name, attempt) in enumerate(ROWS.items()):
        yield Case("option", f"{name}, run", FORMS[number % 2], attempt, runs=True)
