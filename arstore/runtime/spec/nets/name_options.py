"""Options for the files of names in a container: `--add-host`, `--dns`, `--hosts-file`, and their forms."""

from __future__ import annotations

import ipaddress
import os
import re

from arstore.errors import NotFoundError
from arstore.runtime.spec.nets.names import GATEWAY
from arstore.runtime.spec.sizes import refused, shown

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_.])?")
_OPTION = re.compile(r"[a-z0-9-]{1,64}(?::[0-9]{1,9})?")


def parse_host(text: str) -> str:
    """Return the line for one word of `--add-host`: `NAME[;NAME...]:IP`. Raises UsageError."""
    what = f"--add-host={text}"
    names, colon, address = text.partition(":")
    if not colon or not address:
        raise refused(what, "is not a name and an address", "write NAME:IP, or NAME:host-gateway")
    for name in names.split(";"):
        if _NAME.fullmatch(name) is None:
            raise refused(what, f"{name or 'an empty word'} is not a host name")
    if address != GATEWAY:
        address = _address(what, address)
    return f"{address}\t{names.replace(';', ' ')}"


def parse_server(text: str) -> str:
    """Return one word of `--dns`: an address, or `none`. Raises UsageError."""
    return text if text == "none" else _address(f"--dns={text}", text)


def parse_search(text: str) -> str:
    """Return one word of `--dns-search`: a domain, or `.` for none. Raises UsageError."""
    if text != "." and _NAME.fullmatch(text) is None:
        raise refused(f"--dns-search={text}", "is not a domain", "write . for no search domain")
    return text


def parse_option(text: str) -> str:
    """Return one word of `--dns-option`. Raises UsageError."""
    if _OPTION.fullmatch(text) is None:
        raise refused(f"--dns-option={text}", "is not an option of resolv.conf", "write for example ndots:2")
    return text


def parse_hosts_file(text: str) -> str:
    """Return the value of `--hosts-file`: `none`, `image` or an absolute path. Raises NotFoundError, UsageError."""
    if text in {"none", "image"}:
        return text
    if not os.path.exists(text):
        raise NotFoundError(f"--hosts-file={shown(text)}", "no such file")
    if not os.path.isfile(text):
        raise refused(f"--hosts-file={text}", "is not a regular file")
    return os.path.abspath(text)


def _address(what: str, text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        found = None
    # A zone after % may contain anything, a line feed too.
    if found is None or "%" in text:
        raise refused(what, f"{text} is not an IP address")
    return str(found)
