"""The store as one thing: blobs by digest, layers, images, containers.

`store` opens it. `ingest` brings images in; `collect` finds what nothing holds, and deletes it; `containers` are
writable directories over an image; `layout` keeps `index.json`.
Knows nothing of where images come from. Not here: mounting and committing (`rootfs`), audits (`maintenance`).
Start with `store`. On-disk layout and invariants: docs/design/store-format.md.
"""
