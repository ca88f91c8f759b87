"""A host in a network namespace: an address, a default route that leads nowhere, a resolver on its loopback.

Containers are started in it by the real program. Nothing of the machine's network is used or changed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from support import images, programs

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDRESS = "192.0.2.77"
"""The host's own address (RFC 5737)."""
ANSWER = "203.0.113.9"
"""The address that the resolver answers with."""
REPOSITORY = Path(__file__).resolve().parents[2]

_INTERFACE = (
    "{ ip link add d0 type dummy 2>/dev/null || { ip link add d0 type veth peer name d1 && ip link set d1 up; }; }"
)
_SET_UP = f"""
mount --make-rprivate / &&
ip link set lo up && {_INTERFACE} && ip addr add {ADDRESS}/24 dev d0 && ip link set d0 up &&
ip route add default via 192.0.2.1 && mount --bind "$1/resolv.conf" /etc/resolv.conf &&
mount --bind "$1/hosts" /etc/hosts && : > "$1/ready" && exec sleep 600
"""

_RESOLVER = f"""
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
while True:
    asked, client = server.recvfrom(512)
    end = asked.index(b"\\0", 12) + 5
    is_a = asked[end - 4 : end - 2] == b"\\0\\1"
    head = asked[:2] + b"\\x81\\x80" + asked[4:6] + (b"\\0\\1" if is_a else b"\\0\\0") + b"\\0\\0\\0\\0"
    record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4" + socket.inet_aton("{ANSWER}")
    server.sendto(head + asked[12:end] + (record if is_a else b""), client)
"""

_SERVER = """
import socket, sys
kind, address, port, answer = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
server = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((address, int(port)))
if kind == "tcp":
    server.listen(8)
print("ready", flush=True)
while True:
    if kind == "udp":
        asked, client = server.recvfrom(512)
        server.sendto(answer.encode(), client)
    else:
        client, _ = server.accept()
        client.recv(512)
        client.sendall(f"HTTP/1.0 200 OK\\r\\nContent-Length: {len(answer)}\\r\\n\\r\\n{answer}".encode())
        client.close()
"""

_CLIENT = """
import socket, sys
kind, address, port = sys.argv[1:]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
client = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
client.settimeout(2)
try:
    client.connect((address, int(port)))
    client.send(b"GET / HTTP/1.0\\r\\n\\r\\n")
    found = client.recv(512)
    while kind == "tcp" and (more := client.recv(512)):
        found += more
    sys.stdout.write(found.decode().rpartition("\\r\\n\\r\\n")[2])
except OSError:
    pass
"""


def why_none(*helpers: str) -> str:
    """Why there can be no such host here, or none of these helpers; "" if there can."""
    for name in ("ip", "unshare", "nsenter", *helpers):
        if programs.program(name) is None:
            return f"{name} is not installed"
    if not os.path.exists("/dev/net/tun"):
        return "there is no /dev/net/tun"
    if not programs.is_root():
        return "network namespaces need root"
    done = subprocess.run(["unshare", "-n", "sh", "-c", _INTERFACE], capture_output=True, check=False)
    return "" if done.returncode == 0 else "the kernel has neither dummy nor veth interfaces"


class World:
    """The host. A context manager: all its processes end with it."""

    def __init__(self, base: Path, path: str = "") -> None:
        self.base = base
        self.store = base / "store"
        self._path = path
        self._processes: list[subprocess.Popen[bytes]] = []
        self._served: set[tuple[str, str, int, int]] = set()

    def __enter__(self) -> World:
        (self.base / "resolv.conf").write_text("search example.org\nnameserver 127.0.0.1\noptions timeout:2\n")
        (self.base / "hosts").write_text("127.0.0.1\tlocalhost\n198.51.100.5\tneighbour\n")
        command = ["unshare", "--net", "--mount", "sh", "-c", _SET_UP, "sh", str(self.base)]
        self._host = subprocess.Popen(command, stderr=subprocess.PIPE)
        self._processes.append(self._host)
        self._until(lambda: (self.base / "ready").exists())
        for address in ("127.0.0.1", ADDRESS):
            self.popen(sys.executable, "-c", _RESOLVER, address)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.kill()
            process.communicate()

    def _until(self, condition: object, seconds: float = 30.0) -> None:
        until(condition, seconds)

    def words(self, *words: str) -> list[str]:
        """Return the command that runs *words* on this host."""
        return ["nsenter", f"--target={self._host.pid}", "--net", "--mount", f"--wdns={os.getcwd()}", "--", *words]

    def popen(self, *words: str, **settings: object) -> subprocess.Popen[bytes]:
        """Start a program on this host."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
        process = subprocess.Popen(self.words(*words), env=self.environment, **pipes)  # type: ignore[call-overload]
        self._processes.append(process)
        return process

    @property
    def environment(self) -> dict[str, str]:
        """The environment of programs; PATH has only the wanted helpers if that was asked for."""
        found = os.environ | {"PYTHONPATH": str(REPOSITORY)}
        return found | ({"PATH": self._path} if self._path else {})

    def arstore_words(self, *words: str) -> list[str]:
        """Return the command line of the real program with this host's store."""
        places = ["--root", str(self.store), "--runroot", str(self.base / "runroot")]
        return [sys.executable, "-m", "arstore", *places, *words]

    def arstore(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run the real program on this host."""
        command = self.words(*self.arstore_words(*words))
        return subprocess.run(
            command, env=self.environment, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=30
        )

    def add_image(self, name: str = "box:1", members: Sequence[images.Member] = (), **config: object) -> None:
        """Import an image with busybox."""
        program = Path(programs.busybox() or "").read_bytes()
        bottom = [images.directory("./"), images.directory("bin"), images.file("bin/busybox", program, 0o755)]
        links = (
            "sh",
            "cat",
            "grep",
            "mkdir",
            "wget",
            "nslookup",
            "sleep",
            "true",
            "ls",
            "ip",
            "seq",
            "kill",
            "echo",
            "timeout",
            "httpd",
        )
        bottom += [images.symlink(f"bin/{link}", "busybox") for link in links]
        layers = [images.layer(bottom, "none"), *([images.layer(members, "none")] if members else [])]
        picture = images.image(*layers, names=[name], config={"Env": ["PATH=/bin"], **config})
        archive = self.base / f"{name.replace(':', '-')}.tar"
        images.write_oci_archive(archive, picture)
        done = self.arstore("import", str(archive))
        assert done.returncode == 0, done.stderr

    def serve(self, kind: str, address: str, port: int, answer: str, pid: int = 0) -> None:
        """Answer every client at this place of the host, or in the network of process *pid*."""
        if (kind, address, port, pid) in self._served:
            return
        self._served.add((kind, address, port, pid))
        inside = ["nsenter", f"--target={pid}", "--net"] if pid else []
        process = self.popen(*inside, sys.executable, "-c", _SERVER, kind, address, str(port), answer)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

    def ask(self, kind: str, address: str, port: int, seconds: float = 15.0) -> str:
        """Return what a server at this place answers to a client on this host, "" without one in *seconds*."""
        end = time.monotonic() + seconds
        while True:
            command = self.words(sys.executable, "-c", _CLIENT, kind, address, str(port))
            found = subprocess.run(command, capture_output=True, check=False).stdout.decode()
            if found or time.monotonic() > end:
                return found
            time.sleep(0.2)

    def end(self, name: str) -> None:
        """Kill a container and remove it."""
        self.arstore("kill", name)
        self.arstore("wait", name)
        done = self.arstore("container", "rm", name)
        assert done.returncode == 0, done.stderr

    def helpers(self) -> list[int]:
        """Return the processes of helpers that are in this host's network namespace, or were started there."""
        here = os.stat(f"/proc/{self._host.pid}/ns/net").st_ino
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
                same = os.stat(f"/proc/{name}/ns/net").st_ino == here
            except OSError:
                continue
            if same and os.path.basename(words[0]).startswith((b"pasta", b"passt", b"slirp4netns")):
                found.append(int(name))
        return found


def until(condition: object, seconds: float = 30.0) -> None:
    """Wait until *condition* holds; fail after *seconds*."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program that cannot do anything about it."""
    process.send_signal(signal.SIGKILL)
    process.wait()
