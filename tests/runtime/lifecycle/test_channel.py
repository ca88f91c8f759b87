import errno
import os

import pytest

from arstore.errors import (
    MountError,
    NotFoundError,
)
from arstore.runtime.lifecycle.channel import Event, Receiver, Sender, error_of


@pytest.mark.parametrize(
    "error", [MountError("a", "b", "c"), OSError(errno.ENOSPC, "No space", "/x"), NotFoundError("a", "b")]
)
def test_errors_cross_the_pipe(error):
    reading, writing = os.pipe()
    Sender(writing).fail(error)
    os.close(writing)
    receiver = Receiver(reading)
    event = receiver.receive()
    found = error_of(event)
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert receiver.receive() is None
    os.close(reading)


def test_events_in_one_piece_and_a_deadline():
    reading, writing = os.pipe()
    sender = Sender(writing)
    sender.send("started", pid=5)
    sender.send("exited", status=0)
    receiver = Receiver(reading)
    assert receiver.receive(0.0) == Event("started", {"pid": 5})
    assert receiver.receive(0.0) == Event("exited", {"status": 0})
    with pytest.raises(TimeoutError):
        receiver.receive(0.0)
    os.close(reading)
    sender.send("nobody listens")
    sender.close()
    sender.send("nothing happens")
