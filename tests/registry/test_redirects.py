"""Redirects: allowed targets."""

import pytest
from support import registry as registries

from arstore.digest import Digest
from arstore.errors import RegistryAnswerError
from arstore.registry.blobs import RemoteBlob

DATA = b"some data"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_get_follows(server, connect, status):
    digest = server.put_blob("a/b", DATA)
    server.put_blob("other", DATA)
    server.fault("GET", "a/b/blobs", status=status, header=("Location", f"/v2/other/blobs/{digest}"), body=b"moved")
    with RemoteBlob(connect(server), Digest(digest), len(DATA)) as blob:
        assert blob.read() == DATA


@pytest.mark.parametrize("location", [None, "", "ftp://host/", "http://u:p@host/"])
def test_places_that_are_none(server, connect, location):
    digest = server.put_blob("a/b", DATA)
    server.fault("GET", "a/b/blobs", status=307, header=("Location", location), body=b"")
    with pytest.raises(RegistryAnswerError):
        RemoteBlob(connect(server), Digest(digest), len(DATA))


def test_a_loop_ends(server, connect):
    digest = server.put_blob("a/b", DATA)
    server.fault("GET", "a/b/blobs", times=99, status=307, header=("Location", f"/v2/a/b/blobs/{digest}"), body=b"")
    with pytest.raises(RegistryAnswerError, match="more than 10 times"):
        RemoteBlob(connect(server), Digest(digest), len(DATA))


def test_a_signature_in_a_url_is_not_shown(server, connect):
    digest = server.put_blob("a/b", DATA)
    with registries.served() as storage:
        target = f"{storage.url}/x?signature=SECRET"
        server.fault("GET", "a/b/blobs", times=9, status=307, header=("Location", target), body=b"")
        storage.fault("GET", "/x", times=9, before=True, status=307, header=("Location", "ftp://SECRET/"), body=b"")
        with pytest.raises(RegistryAnswerError) as caught:
            RemoteBlob(connect(server), Digest(digest), len(DATA))
    assert "signature=" not in str(caught.value)
