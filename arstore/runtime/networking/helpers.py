"""pasta(1) and slirp4netns(1): their command lines, how they are started, and what their failures mean.

Both get no access to the host's loopback unless the user asks for it. pasta goes to the background once it works;
slirp4netns writes to a descriptor, and is asked for each port on a socket in the bundle.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from arstore.errors import RuntimeFailedError, UsageError
from arstore.runtime.driver import one_line
from arstore.runtime.spec.nets.addresses import addresses, values_of
from arstore.values import NamedTuple

if TYPE_CHECKING:
    import socket

    from arstore.runtime.spec.nets.values import Link, Port
    from arstore.runtime.spec.options import RunOptions

_LOG, _SOCKET = "run/network.log", "run/network.sock"
"""In the bundle, which is the keeper's working directory: the name of a socket has at most 107 bytes."""
_LOG_LIMIT = 1 << 16
_ANSWER_LIMIT = 1 << 16
_PATIENCE = 20.0
"""Seconds for an answer of slirp4netns."""
_NOISE = ("Failed to send ", "Don't run as root", "WARNING: Support for ", "sent tapfd=", "received tapfd=")
_ROUTABLE = "routable interface"


class Helper(NamedTuple):
    """A helper program: its name, and its path."""

    name: str
    path: str


def start_pasta(helper: Helper, options: RunOptions, source: str) -> None:
    """Start pasta for the namespace *source*; return once it forwards. Raises RuntimeFailedError."""
    pid = _spawn([helper.path, *pasta_words(options), "--netns", source])
    _, status = os.waitpid(pid, 0)
    if status:
        raise _failure(helper, options)


def pasta_words(options: RunOptions) -> list[str]:
    """Return the options of pasta, without the namespace."""
    link = options.link
    given = values_of(link.options)
    words = ["--config-net", "--quiet", "--no-netns-quit"]
    if os.geteuid() == 0:
        # It would become `nobody`, who may not enter a namespace of root; it gives up its other rights by itself.
        words += ["--runas", "0"]
    if not given.keys() & {"--map-gw", "--no-map-gw"}:
        words.append("--no-map-gw")
    found = addresses("pasta", link)
    if not given.keys() & {"-a", "--address", "-n", "--netmask"}:
        words += ["-a", found.guest, "-n", str(found.prefix)]
    if not given.keys() & {"-a", "--address", "-g", "--gateway"}:
        words += ["-g", found.gateway]
    if "--dns-forward" not in given:
        words += ["--dns-forward", found.dns]
    if link.ip6:
        words += ["-a", link.ip6]
    if link.mac:
        words += ["--ns-mac-addr", link.mac]
    words += (word for word in link.options if word != "--map-gw")
    for short, long, protocol in (("-t", "--tcp-ports", "tcp"), ("-u", "--udp-ports", "udp")):
        specs = [pasta_port(port) for port in link.ports if port.protocol == protocol]
        if not specs and not given.keys() & {short, long}:
            specs = ["none"]
        words += (word for spec in specs for word in (short, spec))
    for short, long in (("-T", "--tcp-ns"), ("-U", "--udp-ns")):
        if not given.keys() & {short, long}:
            words += [short, "none"]
    return words


def pasta_port(port: Port) -> str:
    """Return a port as pasta writes it: `0.0.0.0/8000-8001:80-81`."""
    host, container = (
        f"{first}-{first + port.span - 1}" if port.span > 1 else str(first)
        for first in (port.host_port, port.container_port)
    )
    return f"{port.host_ip or '0.0.0.0'}/{host}:{container}"


def start_slirp(helper: Helper, options: RunOptions, source: str) -> None:
    """Start slirp4netns for the namespace *source*; return once it forwards all ports.

    Raises UsageError for what only pasta can do, RuntimeFailedError.
    """
    link = options.link
    _require_slirp(link)
    ready, report = os.pipe()
    words = [*slirp_words(options), f"--ready-fd={report}"]
    if link.ports:
        words.append(f"--api-socket={_SOCKET}")
    pid = _spawn([helper.path, *words, "--netns-type=path", source, "tap0"], report)
    os.close(report)
    try:
        works = os.read(ready, 1) == b"1"
    finally:
        os.close(ready)
    if not works:
        os.waitpid(pid, 0)
        raise _failure(helper, options)
    for port in link.ports:
        for number in range(port.span):
            _forward(helper, options, port, number)


def slirp_words(options: RunOptions) -> list[str]:
    """Return the options of slirp4netns, without those of this start."""
    given = dict(word.partition("=")[::2] for word in options.link.options)
    words = ["--configure", f"--mtu={given.get('mtu', '65520')}", "--enable-sandbox", "--enable-seccomp"]
    if given.get("allow_host_loopback") != "true":
        words.append("--disable-host-loopback")
    if given.get("enable_ipv6") == "true":
        words.append("--enable-ipv6")
    names = {"cidr": "cidr", "outbound_addr": "outbound-addr", "outbound_addr6": "outbound-addr6"}
    words += (f"--{names[name]}={value}" for name, value in given.items() if name in names)
    if options.link.mac:
        words.append(f"--macaddress={options.link.mac}")
    return words


def _require_slirp(link: Link) -> None:
    hint = "install pasta: `apt install passt`"
    for name, value in (("--ip", link.ip), ("--ip6", link.ip6)):
        if value:
            raise UsageError(f"{name}={value}", "slirp4netns does not give a container an address", hint)
    for port in link.ports:
        if ":" in port.host_ip:
            raise UsageError(f"port [{port.host_ip}]:{port.host_port}", "slirp4netns publishes IPv4 ports only", hint)


def _forward(helper: Helper, options: RunOptions, port: Port, number: int) -> None:
    import json
    import socket

    arguments = {
        "proto": port.protocol,
        "host_addr": port.host_ip or "0.0.0.0",
        "host_port": port.host_port + number,
        "guest_addr": addresses("slirp4netns", options.link).guest,
        "guest_port": port.container_port + number,
    }
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_PATIENCE)
            client.connect(_SOCKET)
            client.sendall(json.dumps({"execute": "add_hostfwd", "arguments": arguments}).encode())
            client.shutdown(socket.SHUT_WR)
            answer = json.loads(_received(client))
        fault = answer["error"]["desc"] if "error" in answer else ""
    except (OSError, ValueError, TypeError, KeyError) as error:
        fault = f"gave no answer ({error})"
    if fault:
        what = f"port {arguments['host_addr']}:{arguments['host_port']}/{port.protocol}"
        raise RuntimeFailedError(what, f"{helper.name}: {one_line(str(fault))}")


def _received(client: socket.socket) -> bytes:
    found = b""
    while len(found) < _ANSWER_LIMIT and (part := client.recv(_ANSWER_LIMIT)):
        found += part
    return found


def _spawn(argv: list[str], *kept: int) -> int:
    """Start a helper with its messages in the log; return its process id."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    log = os.open(_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    pid = os.fork()
    if pid == 0:
        try:
            for number, fd in enumerate((null, null, log)):
                os.dup2(fd, number)
            for fd in kept:
                os.set_inheritable(fd, True)
            for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execve(argv[0], argv, {"PATH": os.environ.get("PATH", os.defpath)})
        except OSError as error:
            os.write(log, f"cannot be executed: {error.strerror}\n".encode())
        finally:
            os._exit(127)
    os.close(null)
    os.close(log)
    return pid


def _failure(helper: Helper, options: RunOptions) -> RuntimeFailedError:
    """Return the error with the helper's last words."""
    with open(_LOG, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file.read(_LOG_LIMIT).splitlines()]
    said = [line for line in lines if line and not line.startswith(_NOISE)]
    why = one_line("; ".join(said[-2:])) or "failed without a message"
    hint = "use --network=slirp4netns, which needs no default route" if _ROUTABLE in why else ""
    return RuntimeFailedError(f"--network={options.network}", f"{helper.name}: {why}", hint)
