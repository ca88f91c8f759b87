"""One browser for the tests of pages, and the pictures of a small store."""

from __future__ import annotations

import pytest
from support import chromium, stores
from support.pictures import fill, pages_of


@pytest.fixture(scope="package")
def page():
    """One browser for all tests of pages."""
    with chromium.browser() as found:
        yield found


@pytest.fixture(scope="package")
def drawn(tmp_path_factory):
    """The pictures of a store with 20 layers, written to a directory."""
    place = tmp_path_factory.mktemp("drawn")
    with stores.opened(place) as store:
        fill(store, 20)
        for name, content in pages_of(store).items():
            (place / name).write_bytes(content)
    return place
