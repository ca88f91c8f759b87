"""The OCI runtime that is given goes before the configured one, and an error says who chose it."""

from __future__ import annotations

import pytest
from support import stores

from arstore.api.config.settings import Settings
from arstore.api.runtimes import working_runtime
from arstore.errors import RuntimeMissingError

CONFIGURED = Settings(runtime="/nothing/configured", origins={"runtime": "/etc/config.toml"})


@pytest.mark.parametrize(
    ("settings", "given", "what", "hint"),
    [
        (CONFIGURED, None, "/nothing/configured", "runtime in /etc/config.toml chooses it"),
        (CONFIGURED, "/nothing/given", "/nothing/given", ""),
        (None, "/nothing/given", "/nothing/given", ""),
    ],
)
def test_a_missing_one(tmp_path, settings, given, what, hint):
    with stores.opened(tmp_path) as store, pytest.raises(RuntimeMissingError) as caught:
        working_runtime(store, settings, given, cgroups=True, timeout=10, warn=lambda _: None)
    assert (caught.value.what, caught.value.hint) == (what, hint)
