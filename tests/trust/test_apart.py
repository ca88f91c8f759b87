"""A verifying process can send its answer, and do nothing else."""

import os
import signal
import socket

import pytest
from support.signing import PAYLOAD, STATEMENT, new_key, signed

from arstore.errors import SignatureError
from arstore.linux.isolation import seccomp
from arstore.trust import apart
from arstore.trust.signing.sign import sign_bundle
from arstore.trust.sigstore.bundle import Attested, verify_bundle
from arstore.trust.sigstore.verify import verify_with_keys


@pytest.fixture(scope="module")
def key():
    return new_key()


def test_it_answers_what_was_signed(key):
    assert apart.confined(lambda: verify_with_keys(signed(key), [key.public])) == STATEMENT
    bundle = sign_bundle(key, STATEMENT.digest)
    assert apart.confined(lambda: verify_bundle(bundle, [key.public])) == Attested((STATEMENT.digest,))


def test_it_says_what_is_wrong(key):
    wrong = signed(key)._replace(payload=PAYLOAD + b" ")
    with pytest.raises(SignatureError, match="was not made with the key"):
        apart.confined(lambda: verify_with_keys(wrong, [key.public]))


def test_a_fault_of_the_library_is_a_signature_that_is_not_good():
    with pytest.raises(SignatureError, match="did not finish"):
        apart.confined(lambda: os.kill(os.getpid(), signal.SIGSEGV))
    with pytest.raises(SignatureError, match="did not finish"):
        apart.confined(lambda: [][0])


@pytest.mark.skipif(not seccomp.supported(), reason="no seccomp here")
@pytest.mark.parametrize(
    "job",
    [
        lambda: os.open("/etc/passwd", os.O_RDONLY),
        os.fork,
        socket.socket,
        lambda: os.execv("/bin/true", ["true"]),
        lambda: os.kill(os.getppid(), signal.SIGTERM),
        lambda: os.unlink("/etc/passwd"),
        lambda: bytearray(1 << 30) and None,
    ],
    ids=["open", "fork", "socket", "exec", "kill", "unlink", "memory"],
)
def test_it_may_do_nothing(job):
    with pytest.raises((SignatureError, OSError)):
        apart.confined(job)


def test_its_time_is_bounded(monkeypatch):
    monkeypatch.setattr(apart, "SECONDS", 1)

    def forever():
        while True:
            pass

    with pytest.raises(SignatureError, match="did not finish"):
        apart.confined(forever)
