"""A user without any configuration of registries, whatever the user who runs the tests has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def become_unconfigured(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Point the variables for registries, credentials and proxies at *place*, where there is nothing."""
    for name in [one for one in os.environ if one.lower().endswith("_proxy") or one.startswith(("REGISTRY", "DOCKER"))]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(place / name.lower()))
    conf = place / "registries.conf"
    conf.write_text("")
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(conf))
