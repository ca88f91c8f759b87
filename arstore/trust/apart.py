"""Verification in a process of its own, which has lost nearly all rights before it looks at a stranger's bytes.

Certificates, keys and signatures are read by large libraries of C and Rust. Python's part cannot vouch for them; the
kernel can see to it that whoever takes them over gains nothing: no files, sockets, programs, or memory without end, and
nothing but a value to answer with. The libraries are loaded before, because they could not be afterwards.

gpg is such a process already, and cannot be started from one; messages for it are verified outside (`openpgp/`).
Not in scope: what the parent makes of the answer.
"""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING, TypeVar

from arstore.errors import HostError, SignatureError, reason
from arstore.workers import confinement
from arstore.workers.pool import beside

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SECONDS = 60
"""Processor time that verifying may take; a signature takes less than a millisecond."""
MEMORY = 512 << 20
"""Bytes that it may have besides those of the process that it was forked from."""


def confined(job: Callable[[], T]) -> T:
    """Do *job* in a confined process, and return what it returns or raise what it raises.

    What is returned has to be something that `workers.wire` can carry. Raises SignatureError when the process ends
    without an answer, by its own fault or at a bound, and whatever else *job* raises.
    """
    _load()

    def work() -> T:
        _bound()
        confinement.reading().enter()
        return job()

    with beside(work) as outcome:
        try:
            return outcome()
        except (HostError, OSError) as error:
            why = error.why if isinstance(error, HostError) else f"it was refused what it asked for ({reason(error)})"
            raise SignatureError("signature", f"its verification came to no end: {why}") from error


def _load() -> None:
    """Load what verifying needs, with what these modules load only at their first use."""
    import base64
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.backends.openssl import backend
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.x509 import verification

    assert all((base64, ipaddress, backend, ec, ed25519, hashes, padding, rsa, serialization, verification, x509))


def _bound() -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        data = int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    for what, most in ((resource.RLIMIT_DATA, data + MEMORY), (resource.RLIMIT_CPU, SECONDS)):
        _, hard = resource.getrlimit(what)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, hard))
