"""The graph in a write transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.graph.newer import is_newer, newer_error
from arstore.graph.record_checksum import sealed
from arstore.graph.records import RecordCodec
from arstore.graph.snapshot import FORMAT_KEY, Snapshot, record_key

if TYPE_CHECKING:
    from arstore.graph.records import (
        AttachmentRecord,
        BlobRecord,
        ContainerRecord,
        ImageRecord,
        LayerRecord,
        LeaseRecord,
        LentRecord,
        Record,
        TreeRecord,
    )


class Change(Snapshot):
    """The graph in a write transaction: reads see what this transaction has written.

    Methods that replace or remove a record raise StoreVersionError if a newer arstore has written it (`newer`).
    """

    def number(self) -> int:
        """Return the transaction's number. Only a transaction that changes something has one, so this changes it."""
        value = self._txn.get(FORMAT_KEY)
        if value is not None:
            self._txn.put(FORMAT_KEY, value)
        return self._txn.id()

    def follows(self, number: int) -> bool:
        """Return whether nothing has been committed since a snapshot had this *number*."""
        return int(self._txn.id()) == number + 1

    def _put_record(self, table: str, key: str, record: Record) -> None:
        name = record_key(table, key)
        self._spare_newer(name)
        self._txn.put(name, sealed(name, RecordCodec.encode(record)))

    def _spare_newer(self, key: bytes) -> None:
        value = self._value(key)
        if value is not None and is_newer(key, value):
            raise newer_error(key)

    def rows(self) -> list[tuple[bytes, bytes]]:
        """Return all keys and values as they are stored."""
        return list(self._txn.cursor())

    def put_raw(self, key: bytes, value: bytes) -> None:
        """Write a raw value; only for repairs."""
        self._runs = None
        if value != self._txn.get(key):
            self._spare_newer(key)
            self._txn.put(key, value)

    def delete_raw(self, key: bytes) -> None:
        """Remove *key*, if it exists."""
        self._runs = None
        self._spare_newer(key)
        self._txn.delete(key)

    def put_blob(self, digest: str, record: BlobRecord) -> None:
        """Record a blob that is in its place."""
        self._put_record("blobs", digest, record)

    def put_lent(self, digest: str, record: LentRecord) -> None:
        """Record a blob that is in an additional store."""
        self._put_record("lent", digest, record)

    def put_layer(self, chain_id: str, record: LayerRecord) -> None:
        """Record a layer whose parent is recorded."""
        self._put_record("layers", chain_id, record)

    def put_tree(self, key: str, record: TreeRecord) -> None:
        """Record a tree that is in its place."""
        self._runs = None
        self._put_record("trees", key, record)

    def put_image(self, digest: str, record: ImageRecord) -> None:
        """Record an image whose blobs and layers are recorded."""
        self._put_record("images", digest, record)

    def put_attachment(self, subject: str, digest: str, record: AttachmentRecord) -> None:
        """Record an attachment. Its blobs and its subject must be recorded."""
        self._put_record("attachments", f"{subject}/{digest}", record)

    def put_name(self, name: str, digest: str) -> None:
        """Make *name* point to the image *digest*."""
        key = record_key("names", name)
        self._txn.put(key, sealed(key, digest.encode()))

    def put_container(self, container_id: str, record: ContainerRecord) -> None:
        """Record a container."""
        self._put_record("containers", container_id, record)

    def put_lease(self, lease_id: str, record: LeaseRecord) -> None:
        """Record a lease."""
        self._put_record("leases", lease_id, record)

    def put_own(self, key: str, text: str) -> None:
        """Record a fact about the graph itself under *key*."""
        name = record_key("meta", key)
        self._txn.put(name, sealed(name, text.encode()))

    def delete(self, table: str, key: str) -> bool:
        """Remove the record *key* of *table*; return whether it existed."""
        self._runs = None
        name = record_key(table, key)
        self._spare_newer(name)
        return bool(self._txn.delete(name))
