import signal

import pytest

from arstore.errors import (
    UsageError,
)
from arstore.runtime.lifecycle.signals import parse_signal


@pytest.mark.parametrize(
    ("text", "number"),
    [("SIGTERM", 15), ("term", 15), ("9", 9), ("RTMIN+3", signal.SIGRTMIN + 3), ("SIGRTMAX-1", signal.SIGRTMAX - 1)],
)
def test_signals(text, number):
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "99", "-9", "SIGNOPE", "RTMIN+99", "RTMIN-1", "SIG_DFL", "²", "RTMIN+ 1", "_IGN"]
)
def test_no_signals(text):
    with pytest.raises(UsageError):
        parse_signal(text)
