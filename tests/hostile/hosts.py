"""Cases where the host reads or changes the content of an image: users, directories, commands, mounts, commits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import images, programs
from support.cli import exit_status
from support.images import device, directory, fifo, file, symlink
from support.scrambling import socket_at

from hostile.case import FORMS, NAME, Case, up, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hostile.trial import Trial

APPLETS = (
    "cat",
    "echo",
    "env",
    "id",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mknod",
    "pwd",
    "seq",
    "sh",
    "sleep",
    "touch",
    "true",
)
BROKEN = (125, 126, 127)
"""Statuses of `run` when the container's command did not run."""
ANY = (0, *BROKEN)


def box(*members: images.Member, config: dict[str, Any] | None = None) -> images.Picture:
    """An image with busybox and these members in a layer above."""
    program = Path(programs.busybox() or "").read_bytes()
    bottom = [directory("./"), directory("bin"), file("bin/busybox", program, 0o755)]
    bottom += [symlink(f"bin/{name}", "busybox") for name in APPLETS]
    layers = [images.layer(bottom, "none"), *([images.layer(members, "none")] if members else [])]
    return images.image(*layers, names=[NAME], config={"Env": ["PATH=/bin"], **(config or {})})


def bring_box(trial: Trial, *members: images.Member, config: dict[str, Any] | None = None) -> None:
    """Import such an image."""
    source = written("oci-archive", trial.source, box(*members, config=config))
    trial.must("import", "--tree", trial.form, *source.words)


# --- what `run` looks up ----------------------------------------------------------------------------------------------


def _run(
    make: Callable[[str], list[images.Member]],
    config: dict[str, Any],
    statuses: tuple[int, ...],
    *words: str,
    says: bytes = b"",
) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        out = str(trial.victim.path)
        bring_box(trial, *make(out), config=config)
        done = trial.run("run", *(word.replace("{out}", out) for word in words))
        if done.status not in statuses:
            trial.wrong(f"run ended with {done.status}, not {statuses}: {done.last[-300:]}")
        if done.status in BROKEN and not done.last.startswith("arstore: "):
            trial.wrong(f"not one line for people: {done.err[-300:]!r}")
        if says not in done.out or b"precious\n" in done.out:
            trial.wrong(f"the command printed {done.out[:200]!r}")

    return attempt


def _etc(*members: images.Member) -> list[images.Member]:
    return [directory("etc"), *members]


SPY = {"User": "spy"}
SPARSE = {"GNU.sparse.size": str(64 << 30), "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,0"}
TRUE = (NAME, "true")
RUNS: dict[str, Callable[[Trial], None]] = {
    "passwd is a symlink outside": _run(lambda out: _etc(symlink("etc/passwd", out + "/precious")), SPY, BROKEN, *TRUE),
    "passwd is a symlink up": _run(lambda out: _etc(symlink("etc/passwd", up(out) + "/precious")), SPY, BROKEN, *TRUE),
    "passwd is a FIFO": _run(lambda out: _etc(fifo("etc/passwd")), SPY, BROKEN, *TRUE),
    "passwd is a directory": _run(lambda out: _etc(directory("etc/passwd")), SPY, BROKEN, *TRUE),
    "passwd is a device": _run(lambda out: _etc(device("etc/passwd", "c", 1, 5, 0o666)), SPY, BROKEN, *TRUE),
    "passwd has 64 MiB": _run(lambda out: _etc(file("etc/passwd", b"x:x:1:1::/:/\n" * 5_200_000)), SPY, BROKEN, *TRUE),
    "passwd has one line of 2 MiB": _run(lambda out: _etc(file("etc/passwd", b"x" * (2 << 20))), SPY, BROKEN, *TRUE),
    "group is a FIFO": _run(lambda out: _etc(fifo("etc/group")), {"User": "5:spy"}, BROKEN, *TRUE),
    "etc is a symlink outside": _run(lambda out: [symlink("etc", out)], SPY, BROKEN, *TRUE),
    "passwd gives a number over 32 bits": _run(
        lambda out: _etc(file("etc/passwd", b"spy:x:4294967296:0::/:/bin/sh\n")), SPY, BROKEN, *TRUE
    ),
    "the user over 32 bits": _run(lambda out: [], {"User": "4294967296"}, BROKEN, *TRUE),
    "the user that means nobody": _run(lambda out: [], {"User": "4294967295"}, BROKEN, *TRUE),
    "a user below zero": _run(lambda out: [], {"User": "-1"}, BROKEN, *TRUE),
    "a user of 30 digits": _run(lambda out: [], {"User": "9" * 30}, BROKEN, *TRUE),
    "a user with a newline": _run(lambda out: [], {"User": "0\n"}, BROKEN, *TRUE),
    "a working directory through a symlink": _run(
        lambda out: [symlink("w", out)], {"WorkingDir": "/w/escaped"}, ANY, *TRUE
    ),
    "a working directory up": _run(lambda out: [], {"WorkingDir": "/../../../../../../tmp/escaped"}, ANY, *TRUE),
    "a working directory in the kernel's": _run(lambda out: [], {"WorkingDir": "/proc/self/fd/7"}, BROKEN, *TRUE),
    "a volume through a symlink": _run(
        lambda out: [symlink("w", out)], {"Volumes": {"/w/escaped": {}, "/../escaped": {}}}, ANY, *TRUE
    ),
    "a volume with a sparse file of 64 GiB": _run(
        lambda out: [directory("data"), file("data/s", pax_headers=SPARSE)],
        {"Volumes": {"/data": {}}},
        (0,),
        *(NAME, "busybox", "du", "-k", "/data/s"),
        says=b"0\t/data/s",
    ),
    "a volume of 100 names": _run(
        lambda out: [directory("data"), *(symlink(f"l{n}", "data") for n in range(100))],
        {"Volumes": {f"/l{n}": {} for n in range(100)}},
        (0,),
        *(NAME, "busybox", "grep", "-c", "/volumes/", "/proc/self/mountinfo"),
        says=b"1\n",
    ),
    "volumes of 200 levels, each in the one above": _run(
        lambda out: [directory("d/" * depth) for depth in range(1, 201)],
        {"Volumes": {"/" + "d/" * depth: {} for depth in range(1, 201)}},
        ANY,
        *TRUE,
    ),
    "a volume of 1,000 levels": _run(
        lambda out: [*(directory("d/" * depth) for depth in range(1, 1001)), file("d/" * 1000 + "f")],
        {"Volumes": {"/d": {}}},
        (0,),
        *TRUE,
    ),
    "2,000 volumes": _run(lambda out: [], {"Volumes": {f"/v{n}": {} for n in range(2000)}}, BROKEN, *TRUE),
    "a volume that leads to the root": _run(lambda out: [symlink("r", "/")], {"Volumes": {"/r": {}}}, BROKEN, *TRUE),
    "a volume that leads to the kernel's": _run(
        lambda out: [symlink("r", "proc")], {"Volumes": {"/r/self/cwd": {}}}, BROKEN, *TRUE
    ),
    "a volume in the kernel's": _run(lambda out: [], {"Volumes": {"/proc/self/cwd": {}}}, BROKEN, *TRUE),
    "a mount through a symlink": _run(lambda out: [symlink("w", up(out))], {}, ANY, "-v", "/usr:/w/private:ro", *TRUE),
    "proc is a symlink outside": _run(lambda out: [symlink("proc", out)], {}, BROKEN, *TRUE),
    "dev is a symlink outside": _run(lambda out: [symlink("dev", out)], {}, BROKEN, *TRUE),
    "sys is a symlink outside": _run(lambda out: [symlink("sys", up(out))], {}, BROKEN, *TRUE),
    "files of the network are symlinks outside": _run(
        lambda out: _etc(*(symlink(f"etc/{n}", out + "/precious") for n in ("resolv.conf", "hosts", "hostname"))),
        {},
        ANY,
        "--network",
        "host",
        *TRUE,
    ),
    "files of a private network are symlinks outside": _run(
        lambda out: _etc(*(symlink(f"etc/{n}", up(out) + "/precious") for n in ("resolv.conf", "hosts", "hostname"))),
        {},
        ANY,
        "--network=private",
        *TRUE,
    ),
    "etc is a symlink outside, with names to add": _run(
        lambda out: [symlink("etc", out)], {}, ANY, "--add-host", "a:1.2.3.4", *TRUE
    ),
    "the image's hosts is a symlink outside": _run(
        lambda out: _etc(symlink("etc/hosts", up(out) + "/precious")),
        {},
        ANY,
        "--hosts-file=image",
        *(NAME, "cat", "/etc/hosts"),
    ),
    "the image's hosts is a FIFO": _run(lambda out: _etc(fifo("etc/hosts")), {}, BROKEN, "--hosts-file=image", *TRUE),
    "the image's hosts has 64 MiB": _run(
        lambda out: _etc(file("etc/hosts", b"1.1.1.1 a\n" * 6_600_000)), {}, BROKEN, "--hosts-file=image", *TRUE
    ),
    "a host to add with a newline": _run(lambda out: [], {}, (125,), "--add-host", "a\n6.6.6.6 bank:1.1.1.1", *TRUE),
    "an address to add with a newline": _run(lambda out: [], {}, (125,), "--add-host", "a:fe80::1%a\n6.6.6.6", *TRUE),
    "a search domain with a newline": _run(
        lambda out: [], {}, (125,), "--network=host", "--dns-search", "a\nnameserver 6.6.6.6", *TRUE
    ),
    "an option of resolv.conf with a newline": _run(
        lambda out: [], {}, (125,), "--network=host", "--dns-option", "a:1\nnameserver 6.6.6.6", *TRUE
    ),
    "an option of pasta that writes a file": _run(
        lambda out: [], {}, (125,), "--network=pasta:--pcap,{out}/precious", *TRUE
    ),
    "ports that the image exposes are none": _run(
        lambda out: [],
        {"ExposedPorts": {"../../x": {}, "0/tcp": {}, "1-65535/tcp\n": {}, "80/tcp;true": {}, "9" * 5000: {}}},
        ANY,
        *("--network=private", "-P", *TRUE),
    ),
    "more ports than one container gets": _run(
        lambda out: [], {"ExposedPorts": {"1-65535/tcp": {}}}, (125,), *("--network=private", "-P", *TRUE)
    ),
    "a PATH that leads up": _run(
        lambda out: [], {"Env": ["PATH=/../../../usr/bin:."], "Cmd": ["python3"]}, (127,), NAME
    ),
    "a command that is a symlink outside": _run(
        lambda out: [symlink("bin/evil", out + "/program")], {"Entrypoint": ["/bin/evil"]}, (126, 127), NAME
    ),
    "a command that is a FIFO": _run(lambda out: [fifo("bin/evil", 0o755)], {"Cmd": ["/bin/evil"]}, BROKEN, NAME),
    "newlines in variables": _run(
        lambda out: [],
        {"Env": ["PATH=/bin", "A=b\nROOT=yes"], "Labels": {"a\nb": "c\nd"}},
        (0,),
        NAME,
        "env",
        says=b"A=b\n",
    ),
    "variables that are none": _run(
        lambda out: [], {"Env": ["PATH=/bin", "=x", "", "A"]}, (0,), NAME, "env", says=b"A=\n"
    ),
    "a device that opens": _run(
        # In a user namespace a file without content stands for it.
        lambda out: [device("mem", "c", 1, 1, 0o666)],
        {},
        tuple(range(1, 125)),
        *(NAME, "sh", "-c", "[ -c /mem ] && cat /mem"),
    ),
    "a health check without an end": _run(
        lambda out: [], {"Healthcheck": {"Test": ["CMD-SHELL", "busybox yes"], "Interval": 1}}, (0,), NAME, "sleep", "2"
    ),
    "a health check that is none": _run(
        lambda out: [], {"Healthcheck": {"Test": {"a": ["b"]}, "Interval": "x", "Retries": -1}}, (0,), *TRUE
    ),
    "a health check that ends everything": _run(
        lambda out: [], {"Healthcheck": {"Test": ["CMD-SHELL", "kill -9 -1; kill -9 1"]}}, ANY, NAME, "sleep", "1"
    ),
    "a health check that is not there": _run(
        lambda out: [symlink("check", out + "/program")],
        {"Healthcheck": {"Test": ["CMD", "/check"]}},
        (0,),
        *("--health-on-failure", "none", NAME, "sleep", "1"),
    ),
    "a variable without a value": _run(lambda out: [], {"Env": ["PATH=/bin", "A"]}, (0,), NAME, "env", says=b"A=\n"),
}

# --- containers that are started again, after what they did themselves ------------------------------------------------


def _again(script: str, *words: str) -> Callable[[Trial], None]:
    """A container's first run is *script*; its second one finds what that has made of its root."""

    def attempt(trial: Trial) -> None:
        out = str(trial.victim.path)
        bring_box(trial, directory("etc"), directory("w"), config={"Volumes": {"/data": {}}})
        command = f"test -e /done || {{ echo > /done; {script}; }}; true".replace("{out}", out)
        trial.must("create", "--name", "box", *words, NAME, "sh", "-c", command)
        for _ in range(2):
            done = trial.run("start", "--attach", "box")
            if done.status not in ANY:
                trial.wrong(f"start ended with {done.status}: {done.last[-300:]}")
            if done.status in BROKEN and not done.last.startswith("arstore: "):
                trial.wrong(f"not one line for people: {done.err[-300:]!r}")
            if b"precious\n" in done.out:
                trial.wrong(f"the command printed {done.out[:200]!r}")
        trial.must("container", "rm", "--force", "box")

    return attempt


AGAIN: dict[str, Callable[[Trial], None]] = {
    "etc became a symlink outside": _again("busybox umount /etc/hosts; busybox rm -rf /etc; ln -s {out} /etc"),
    "files of the network became symlinks outside": _again(
        "cd /etc; for n in hosts hostname resolv.conf; do ln -sf {out}/precious $n; done"
    ),
    "the working directory became a symlink outside": _again("cd /; busybox rmdir /w; ln -s {out} /w", "-w", "/w"),
    "passwd became a FIFO": _again("busybox rm -f /etc/passwd; mkfifo /etc/passwd", "-u", "0:0"),
    "the shell became a FIFO": _again("busybox rm -f /bin/sh; mkfifo /bin/sh"),
    "a volume holds symlinks outside": _again("ln -s {out} /data/l; ln -s {out}/precious /data/p"),
}

# --- containers whose upper directory holds a user's work -------------------------------------------------------------


def _upper(
    change: Callable[[Path, Trial], None], inside: dict[str, Any], kinds: tuple[str, ...] = ()
) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        picture = images.image(images.layer([directory("d"), file("d/f", b"x"), file("f", b"x")]), names=[NAME])
        trial.must("import", "--tree", trial.form, *written("layout", trial.source, picture).words)
        root = Path(trial.must("mount", NAME, "--rw", "--name", "box").out.decode().strip())
        change(root, trial)
        trial.run("diff", "box")
        trial.must("umount", "box")
        if kinds:
            trial.fails(kinds, "commit", "box", "made:1")
        elif not trial.must("commit", "box", "made:1").status:
            trial.looked_into("made:1", {name: _filled(what, trial) for name, what in inside.items()})
        trial.must("container", "rm", "box")

    return attempt


def _filled(what: Any, trial: Trial) -> Any:
    return (what[0], what[1].format(out=trial.victim.path)) if isinstance(what, tuple) else what


def _links(root: Path, trial: Trial) -> None:
    (root / "l").symlink_to(trial.victim.path)
    (root / "f").unlink()
    (root / "f").symlink_to(trial.victim.path / "precious")


def _swapped(root: Path, trial: Trial) -> None:
    (root / "d/f").unlink()
    (root / "d").rmdir()
    (root / "d").symlink_to(trial.victim.path)


def _specials(root: Path, _trial: Trial) -> None:
    os.mkfifo(root / "p")
    os.mknod(root / "c", 0o20666, os.makedev(1, 1))


def _deep(root: Path, _trial: Trial) -> None:
    (root / "/".join(["d" * 100] * 30)).mkdir(parents=True)


def _orders(root: Path, _trial: Trial) -> None:
    for name in ("trusted.overlay.redirect", "trusted.overlay.opaque", "user.overlay.redirect"):
        try:
            os.setxattr(root / "d", name, b"/etc")
        except OSError:
            continue


COMMITS: dict[str, Callable[[Trial], None]] = {
    "symlinks outside": _upper(_links, {"l": ("link", "{out}"), "f": ("link", "{out}/precious")}),
    "a directory that became a symlink": _upper(_swapped, {"d": ("link", "{out}"), "f": b"x"}),
    "a FIFO and a device": _upper(_specials, {"p": "fifo", "c": "character"}),
    "a socket": _upper(lambda root, _trial: socket_at(root / "s"), {"f": b"x"}),
    "names with newlines": _upper(lambda root, _trial: void((root / "a\n.wh").touch()), {"a\n.wh": b""}),
    "a path of 3,000 bytes": _upper(_deep, {"f": b"x"}),
    "orders to overlayfs": _upper(_orders, {"d/f": b"x", "f": b"x"}),
}


def void(_value: object) -> None:
    """Do nothing."""


# --- at rest, and at the same time ------------------------------------------------------------------------------------


def _others_read_nothing(trial: Trial) -> None:
    members = [directory("./", 0o777), file("su", b"x" * 5000, 0o6777), directory("open", 0o777)]
    source = written("oci-archive", trial.source, images.image(images.layer(members), names=[NAME]))
    trial.must("import", "--tree", trial.form, *source.words)
    mounted = trial.must("mount", NAME).out.decode().strip()
    os.chmod(trial.place, 0o755)
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "ls"]
    for path in (trial.store.root, trial.store.root / "blobs", trial.store.root / "trees", mounted):
        if subprocess.run([*words, path], capture_output=True, check=False).returncode == 0:
            trial.faults.escapes.append(f"others can read {path}")
    trial.must("umount", "--all")


def _removed_through_a_mount(trial: Trial) -> None:
    """A container is removed that has a directory of the host mounted in it, which containerd 10704 deleted."""
    picture = images.image(images.layer([directory("data"), file("f")]), names=[NAME])
    trial.must("import", "--tree", trial.form, *written("layout", trial.source, picture).words)
    root = trial.must("mount", NAME, "--rw", "--name", "box").out.decode().strip()
    subprocess.run(["mount", "--bind", trial.victim.path, f"{root}/data"], check=True)
    try:
        for words in (["umount", "box"], ["umount", "--all"], ["container", "rm", "-f", "box"], ["rm", NAME], ["gc"]):
            trial.run(*words)
    finally:
        subprocess.run(["umount", "--lazy", f"{root}/data"], check=False, capture_output=True)
    trial.run("umount", "--all")
    trial.run("container", "rm", "-f", "box")


def _target_is_a_symlink(trial: Trial) -> None:
    picture = images.image(images.layer([file("precious", b"x")]), names=[NAME])
    trial.must("import", "--tree", trial.form, *written("layout", trial.source, picture).words)
    trial.target.symlink_to(trial.victim.path)
    if trial.run("unpack", NAME, trial.target).status == 0:
        trial.wrong("unpacked over what is there")
    trial.target.unlink()


def _busy(trial: Trial) -> None:
    picture = images.image(images.layer([file("f", b"x")]), names=[NAME])
    trial.must("import", "--tree", trial.form, *written("layout", trial.source, picture).words)
    root = trial.must("mount", NAME).out.decode().strip()
    with open(f"{root}/f", "rb"):
        trial.fails(("InUse",), "rm", NAME)
        trial.run("umount", "--all")
    trial.run("umount", "--all")
    trial.must("rm", NAME)


REST: dict[str, tuple[str, Callable[[Trial], None]]] = {
    "others read nothing": ("at rest", _others_read_nothing),
    "removal with a mount of the host inside": ("races", _removed_through_a_mount),
    "unpacking into a symlink": ("races", _target_is_a_symlink),
    "removal of what is in use": ("races", _busy),
}

# --- what a pipeline leaves -------------------------------------------------------------------------------------------

BUILT = "cd $ARSTORE_IMAGES; "
LEFT: dict[str, str] = {
    "symlinks": "ln -s {out} d; ln -s {out}/precious p.tar; ln -s /etc/passwd q.tar; ln -s ../../graph g",
    "a FIFO": "mkfifo p.tar",
    "a device": "mknod c.tar c 1 5; mknod b b 7 99; true",
    "names with newlines": "touch 'a\nb.tar' '--all' '-rf'; echo x > ' '",
    "a thousand files": "for n in $(seq 1000); do echo x > f$n.tar; done",
    "directories 200 deep": "for n in $(seq 200); do mkdir d; cd d; done; ln -s {out} l; echo x > x.tar",
    "a layout of symlinks": "mkdir l; cd l; ln -s {out} blobs; echo '{}' > index.json; echo '{}' > oci-layout",
    "an image that is the root": "ln -s / root.tar; mkdir m; cd m; ln -s ../../../.. up",
}


def _left(script: str) -> Callable[[Trial], None]:
    def attempt(trial: Trial) -> None:
        config = {"Cmd": ["sh", "-c", BUILT + script.replace("{out}", str(trial.victim.path))]}
        picture = images.image(*box().layers, names=["pipe:1"], config={"Env": ["PATH=/bin"], **config})
        path = images.write_oci_archive(trial.source / "pipe.tar", picture)
        done = trial.run("load", "-i", path)
        if not done.status:
            trial.wrong("what is no image was taken for one")
        elif not done.last.startswith("arstore: "):
            trial.wrong(f"not one line for people: {done.last!r}")
        trial.expect("the names", trial.names(), {"before:1", "pipe:1"})

    return attempt


OUTSIDE = """
import os, sys, time
top, fds, number = sys.argv[1], {}, 0
while True:
    for name in ("", "group", "group/layout", "good.tar"):
        try:
            path = os.path.join(top, name)
            fds.setdefault(name, os.open(path, os.O_RDWR if name.endswith(".tar") else os.O_RDONLY | os.O_DIRECTORY))
        except OSError:
            continue
    if os.path.exists(sys.argv[2]):
        number += 1
        for name, fd in fds.items():
            try:
                if name.endswith(".tar"):
                    os.pwrite(fd, os.urandom(64), number * 4099 % max(os.fstat(fd).st_size, 1))
                else:
                    os.close(os.open(f"late{number % 500}.tar", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
                    os.symlink("/etc/passwd", f"link{number % 500}", dir_fd=fd)
            except OSError:
                continue
    time.sleep(0.001)
"""
"""Plays another container that was given descriptors of these, and writes after the last image was written."""


def _passed_on(trial: Trial) -> None:
    """A process outside holds descriptors of the images directory and of its content, and uses them."""
    good = images.image(images.layer([file("f", b"f" * 300_000)], "none"), names=["good:1"])
    shared = trial.store.root / "pipelines"
    shared.mkdir(parents=True, exist_ok=True)
    images.write_oci_archive(shared / "good.tar", good)
    images.write_layout(shared / "layout", images.image(images.layer([file("g")]), names=["group:1"]))
    script = "mkdir group; busybox cp -r $ARSTORE_PIPELINES/layout group/; busybox cp $ARSTORE_PIPELINES/good.tar .; "
    config = {"Cmd": ["sh", "-c", BUILT + script + "sleep 1; touch $ARSTORE_PIPELINES/go; sleep 1"]}
    picture = images.image(*box().layers, names=["pipe:1"], config={"Env": ["PATH=/bin"], **config})
    path = images.write_oci_archive(trial.source / "pipe.tar", picture)
    words = [sys.executable, "-c", OUTSIDE, trial.store.root / "pipe/images", shared / "go"]
    with subprocess.Popen(words) as process:
        try:
            done = trial.run("load", "-i", path)
        finally:
            process.kill()
    if done.status not in {0, exit_status("SubImage")}:
        trial.wrong(f"load ended with {done.status}: {done.last[-300:]}")
    found = trial.names()
    if not found <= {"before:1", "pipe:1", "good:1", "group:1"}:
        trial.wrong(f"there are images {found}")
    if "good:1" in found:
        trial.looked_into("good:1", {"f": (b"f" * 300_000)[:4096]})


def cases() -> Iterator[Case]:
    """All of this module."""
    for number, (name, attempt) in enumerate(RUNS.items()):
        yield Case("host", f"{name}, run", FORMS[number % 2], attempt, runs=True)
    for number, (name, attempt) in enumerate(AGAIN.items()):
        yield Case("host", f"{name}, start", FORMS[number % 2], attempt, runs=True)
    for name, attempt in COMMITS.items():
        for form in FORMS:
            yield Case("commit", f"{name}, commit", form, attempt)
    for name, (group, attempt) in REST.items():
        for form in FORMS:
            yield Case(group, name, form, attempt)
    for number, (name, script) in enumerate(LEFT.items()):
        yield Case("pipeline", f"{name}, load", FORMS[number % 2], _left(script), runs=True)
    for form in FORMS:
        yield Case("pipeline", "descriptors passed on, load", form, _passed_on, runs=True)
