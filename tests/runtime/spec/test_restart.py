"""Restart policies: their syntax, when they apply, and their pauses."""

from __future__ import annotations

import pytest

from arstore.errors import UsageError
from arstore.runtime.spec.restart import Restart, parse_restart, pause_after


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", Restart()),
        ("no", Restart()),
        ("never", Restart()),
        ("always", Restart("always")),
        ("unless-stopped", Restart("unless-stopped")),
        ("on-failure", Restart("on-failure")),
        ("on-failure:3", Restart("on-failure", 3)),
    ],
)
def test_syntax(text, policy):
    assert parse_restart(text) == policy
    assert parse_restart(str(policy)) == policy
    assert policy.is_active == (text not in {"", "no", "never"})


@pytest.mark.parametrize("text", ["often", "always:3", "no:1", "on-failure:", "on-failure:x", "on-failure:-1", ":3"])
def test_what_is_refused(text):
    with pytest.raises(UsageError):
        parse_restart(text)


@pytest.mark.parametrize(
    ("policy", "status", "restarts", "applies"),
    [
        ("no", 1, 0, False),
        ("always", 0, 1000, True),
        ("unless-stopped", None, 0, True),
        ("on-failure", 0, 0, False),
        ("on-failure", 3, 1000, True),
        ("on-failure", None, 0, True),
        ("on-failure:2", 3, 1, True),
        ("on-failure:2", 3, 2, False),
    ],
)
def test_when_it_applies(policy, status, restarts, applies):
    assert parse_restart(policy).applies(status, restarts) is applies


def test_pauses():
    pauses = [0.0]
    for _ in range(12):
        pauses.append(pause_after(0.1, pauses[-1]))
    assert pauses[1:5] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == 60.0
    assert pause_after(10.0, pauses[-1]) == 0.1
