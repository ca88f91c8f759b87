"""One row with one program: run the script, and collect what it printed and left."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runcompare import normal
from runcompare.programs import QUIET

if TYPE_CHECKING:
    from runcompare.programs import Program
    from runcompare.row import Row

SECONDS = 30
"""Time limit of a row's script."""
SECCOMP = (
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":'
    '[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"args":[]}]}'
)


class Outcome(NamedTuple):
    """The result of a row with a program: normalised lines by section, and the whole stderr for the report."""

    sections: dict[str, list[str]]
    stderr: str = ""


def furnish(place: Path) -> None:
    """Make *place* a new directory with the files that rows use."""
    shutil.rmtree(place, ignore_errors=True)
    for name in ("src", "src/sub", "owned", "root"):
        (place / name).mkdir(parents=True)
    (place / "src/file").write_text("hello\n")
    (place / "src").chmod(0o755)
    os.chown(place / "owned", 1000, 1000)
    (place / "owned").chmod(0o750)
    (place / "link").symlink_to("src")
    (place / "variables").write_text("# a comment\nFIRST=one\nSECOND=two words\n\nHOSTVAR\n")
    (place / "hosts").write_text("10.5.5.5 from.the.file\n")
    (place / "auth.json").write_text("{}\n")
    (place / "key.pem").write_text("no key\n")
    (place / "seccomp.json").write_text(SECCOMP)


def run(row: Row, program: Program, images: Path) -> Outcome:
    """Run *row* with *program*, in a new directory. Containers and volumes that it leaves are removed afterwards."""
    place = program.place / "row"
    furnish(place)
    shutil.copy(images / "busybox", place / "root/busybox")
    before = _files(place)
    environment = _environment(program, images)
    status, out, err = _script(row.script, place, environment)
    left = program.containers()
    volumes = program.volumes()
    after = _files(place)
    scrub = normal.Scrub(str(program.place), row.script, environment["PORT"])
    sections = normal.sections(out, scrub)
    sections["status"] = [str(status)]
    sections["stderr"] = normal.messages(err, scrub)
    sections["files"] = [scrub.text(line) for line in sorted(set(after) ^ set(before))]
    sections["containers"] = sorted(normal.container(one, row.script) for one in left)
    sections["volumes"] = sorted(scrub.text(name) for name in volumes)
    if left or volumes:
        program.clear()
    shutil.rmtree(place, ignore_errors=True)
    return Outcome(sections, scrub.text(err))


def _environment(program: Program, images: Path) -> dict[str, str]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    disks = sorted(name for name in os.listdir("/sys/block") if re.fullmatch(r"(s|v|xv)d[a-z]|nvme.*", name))
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    return {
        "PATH": f"{program.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "TERM": "xterm",
        **QUIET,
        "LANG": "C.UTF-8",
        "HOSTVAR": "of the host",
        "HOSTOTHER": "too",
        "PORT": str(port),
        "DISK": f"/dev/{disks[0] if disks else 'null'}",
        "ARCH": machine,
        "IMAGES": str(images),
    }


def _script(script: str, place: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    """Status, stdout and stderr. The outputs are files, so that processes left behind do not hold the row."""
    streams = [place.with_name("stdout"), place.with_name("stderr")]
    with open(streams[0], "wb") as out, open(streams[1], "wb") as err:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            status = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            status = -1
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    out_text, err_text = (stream.read_bytes().decode("utf-8", "backslashreplace") for stream in streams)
    return status, out_text, err_text


def _files(place: Path) -> list[str]:
    """A line for each file below *place*: path, mode, owner, and the text of small files."""
    lines = []
    for top, directories, names in os.walk(place):
        for name in sorted([*directories, *names]):
            path = Path(top, name)
            facts = path.lstat()
            small = path.is_file() and not path.is_symlink() and facts.st_size < 200
            text = repr(path.read_bytes().decode("latin-1")) if small else ""
            if re.fullmatch(r"'\d{2,7}(\\n)?'", text):
                text = "(a number)"
            about = f"{path.relative_to(place)} {facts.st_mode:o} {facts.st_uid}:{facts.st_gid} {text}"
            lines.append(about.rstrip())
    return lines
