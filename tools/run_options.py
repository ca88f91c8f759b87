#!/usr/bin/env python3
"""Print docs/design/run-options.md: which options of `podman run` `arstore run` has, and why; `--write` writes it.

The table is made from the help of both programs. Podman's is in tests/cli/containers/podman_run_help.txt, after its
version; `--refresh COMMAND...` writes that file from `COMMAND... podman run --help`. A test asserts that the table is
up to date, that each option of podman is here, has another name, or has a reason, and that no reason is left over.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from generated import main  # noqa: E402 - the checkout need not be installed

from arstore.cli.containers.load import load  # noqa: E402
from arstore.cli.containers.run import run  # noqa: E402
from arstore.cli.parameter import Option  # noqa: E402

TARGET = CHECKOUT / "docs" / "design" / "run-options.md"
HELP = CHECKOUT / "tests" / "cli" / "containers" / "podman_run_help.txt"
_OPTION = re.compile(r"^ {2,6}(?:(-[a-zA-Z]), )?(--[a-z0-9-]+)(?: .*)?$")

_HEALTH = "the last five results are kept with the container; `container inspect` shows them"
_USERS = "containers have no user namespace, so no ids are mapped"
_PODS = "there are no pods"
_STARTUP = "there is one check; `--health-start-period` is for the time after the start"

OTHER_NAMES: dict[str, tuple[str, str]] = {}
"""The name here, and a note, of an option that is called differently."""

REASONS = {
    "--chrootdirs": "for programs that change their root inside the container; `-v` mounts the files there",
    "--conmon-pidfile": "there is no conmon; `ps --json` has the process",
    "--disable-content-trust": "has no effect in podman either",
    "--gidmap": _USERS,
    "--gpus": "needs CDI, which is a registry of vendors' files; `--device` and `-v` give a container a GPU",
    "--health-log-destination": _HEALTH,
    "--health-max-log-count": _HEALTH,
    "--health-max-log-size": _HEALTH,
    "--health-startup-cmd": _STARTUP,
    "--health-startup-interval": _STARTUP,
    "--health-startup-retries": _STARTUP,
    "--health-startup-success": _STARTUP,
    "--health-startup-timeout": _STARTUP,
    "--network-alias": "there are no named networks, and so no names of containers in one",
    "--pod": _PODS,
    "--pod-id-file": _PODS,
    "--requires": "for units that podman generates; `wait` and `start` order containers in a script",
    "--retry": "pulls are retried, and a pull that was cut short continues",
    "--retry-delay": "pulls are retried, and a pull that was cut short continues",
    "--rootfs": "containers are made from images; `import --rootfs` makes an image of a root file system",
    "--seccomp-policy": "an image cannot choose its profile; `--security-opt seccomp=FILE` does",
    "--secret": "there is no store of secrets; use `--env-file`, or `-v FILE:/run/secrets/NAME:ro`",
    "--shm-size-systemd": "belongs to --systemd, of which only `false` is here",
    "--subgidname": _USERS,
    "--subuidname": _USERS,
    "--uidmap": _USERS,
}
"""Why an option of podman is not here."""

DIFFERENCES = {
    "--blkio-weight": "left out with a warning where the kernel has no weights, as in podman",
    "--cgroup-parent": "a path of control groups; slices of systemd are refused",
    "--cgroups": "enabled or disabled: there is no conmon to split from",
    "--cidfile": "a symlink is not followed",
    "--hooks-dir": "no directory is read by default",
    "--image-volume": "anonymous volumes are directories of their container, not volumes of the store",
    "--ipc": "private, host or none; another container's namespace cannot be joined",
    "--log-driver": "k8s-file, none or passthrough",
    "--memory-swap": "left out with a warning where the kernel cannot limit swap, as in podman",
    "--mount": "bind, volume, tmpfs, image, ramfs, devpts and glob; no artifacts",
    "--name": "the name is the container's id",
    "--ip": "in a private network through pasta",
    "--ip6": "in a private network through pasta",
    "--network": "none is the default; no bridge, no named networks, no container:ID",
    "--publish": "needs --network=private; no SCTP",
    "--pid": "private only: the kernel ends a container's processes with their pid namespace",
    "--pidfile": "a symlink is not followed",
    "--preserve-fd": "with runc, no number may be left out",
    "--restart": "for as long as the container's launcher lives, so not after a reboot",
    "--rm": "the default, unless --keep, --detach or --restart is given",
    "--sdnotify": "ignore only",
    "--security-opt": "label is accepted without effect; apparmor needs a host with AppArmor, as in podman",
    "--systemd": "false only",
    "--timeout": "the stop signal comes first; the exit status is 125, podman's 255",
    "--userns": "host only",
    "--uts": "private or host",
    "--volume": "paths are nosuid and nodev unless suid or dev is given; shared, idmap and upperdir are refused",
    "--volumes-from": "a container that lends private volumes stays until the other one is removed",
}
"""How an option that is here differs from podman's."""

HEAD = """# Options of `podman run`

Generated by `tools/run_options.py --write` from the help of both programs (podman {version}); a test asserts that it
is up to date. An option with the same name has the same meaning, except as the note says. `load` takes those with a
dot in its column.

{count} options of podman: {here} are here, {other} under another name, {missing} are not.

"""


class Row(NamedTuple):
    """An option of podman: its long and its short name."""

    name: str
    short: str


def podman(help_text: str) -> tuple[str, list[Row]]:
    """Return podman's version, and its options, from the text of the file."""
    version = help_text.split("\n", 1)[0].removeprefix("podman version ").strip()
    options = help_text[help_text.index("\nOptions:\n") :]
    rows = []
    for line in options.split("\n"):
        match = _OPTION.match(line)
        if match is not None:
            rows.append(Row(match[2], match[1] or ""))
    return version, rows


def ours() -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """Return the options of `run`, each with all its names, and the names of those of `load`."""
    mine = [one for one in run.parameters if isinstance(one, Option)]
    loaded = {name for one in load.parameters if isinstance(one, Option) for name in one.names}
    return {name: one.names for one in mine for name in one.names} | {"--help": ("--help",)}, loaded


def document() -> str:
    """Return the text of the page."""
    version, rows = podman(HELP.read_text())
    mine, loaded = ours()
    lines = []
    counts = {"yes": 0, "other": 0, "no": 0}
    for row in rows:
        if row.name in mine:
            kind, note = "yes", DIFFERENCES.get(row.name, "")
            if row.short and row.short not in mine[row.name]:
                note = f"{note}; no {row.short}".lstrip("; ")
        elif row.name in OTHER_NAMES:
            kind, note = "other", "`{}`: {}".format(*OTHER_NAMES[row.name])
        else:
            kind, note = "no", REASONS.get(row.name, "?")
        counts[kind] += 1
        dot = "·" if row.name in loaded else ""
        lines.append(f"| {', '.join(filter(None, (row.short, row.name)))} | {kind} | {dot} | {note} |")
    head = HEAD.format(
        version=version, count=len(rows), here=counts["yes"], other=counts["other"], missing=counts["no"]
    )
    table = ["| option | here | load | why not, or how it differs |", "|---|---|---|---|", *lines]
    own = sorted({max(names, key=len) for names in mine.values()} - {row.name for row in rows})
    return (
        head + "\n".join(table) + f"\n\nOptions that podman does not have: {', '.join(f'`{name}`' for name in own)}.\n"
    )


def refresh(command: list[str]) -> int:
    """Write podman's help again, by *command* before `podman`."""
    version, text = (
        subprocess.run([*command, "podman", *words], capture_output=True, check=True, text=True).stdout
        for words in (["--version"], ["run", "--help"])
    )
    HELP.write_text(f"{version}\n{text}")
    return 0


if __name__ == "__main__":
    if "--refresh" in sys.argv:
        sys.exit(refresh(sys.argv[sys.argv.index("--refresh") + 1 :]))
    sys.exit(main(document(), TARGET))
