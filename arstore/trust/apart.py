"""Verify in a separate process that drops nearly all privileges before it reads untrusted bytes.

Certificates, keys and signatures are parsed by large libraries in C and Rust, which may have bugs. The kernel ensures
that an attacker who takes over the process gains nothing: it has no files, sockets or programs, bounded memory, and can
only return a value. The libraries are loaded first, because they could not be loaded afterwards.

gpg is already a separate process, and cannot be started from a confined one; its messages are verified outside
(`openpgp/`). Not in scope: how the parent uses the result.
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
"""Processor time in seconds that verifying may take; a signature takes less than a millisecond."""
MEMORY = 512 << 20
"""Bytes of memory that it may use in addition to those of its parent at the fork."""


def confined(job: Callable[[], T]) -> T:
    """Run *job* in a confined process; return its result or raise its error.

    The result must be of a type that `workers.wire` can transfer. Raises SignatureError if the process ends without a
    result, because it crashed or reached a limit, and otherwise the errors of *job*.
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
            why = error.why if isinstance(error, HostError) else f"an operation was refused ({reason(error)})"
            raise SignatureError("signature", f"its verification did not finish: {why}") from error


def _load() -> None:
    """Load the modules for verifying, and what they would load only on first use."""
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
