"""The store as one thing: blobs by digest, layers, images, containers.

`store` opens it. `ingest` brings images in; `collect` finds content that nothing holds, and deletes it; `containers`
are writable directories over an image; `layout` keeps `index.json`.
This package does not know where images come from. Mounting and committing are in `rootfs`, audits in `maintenance`.
Start with `store`. On-disk layout and invariants: docs/design/store-format.md.
"""
