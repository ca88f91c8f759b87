"""The graph: everything that a store knows, as records in one LMDB database.

`graph` opens it, `snapshot` reads, `write` changes; `records` are the values, each protected by `record_checksum`. The
rest keeps it safe: which store it belongs to (`identity`, `copy_detection`), faults while LMDB reads its file, damaged
pages. Not here: files of blobs and trees (`disk`, `trees`), and what records mean together (`store`).
Start with `records`, then `graph`. Format: docs/design/store-format.md.
"""
