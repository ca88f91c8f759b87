"""Where images come from and where they go: one module per transport, and `copy`, which imports images.

`detect` finds out what a path holds; `layout`, `docker_archive`, `dir` and `hybrid` read the formats; `selection`
chooses among several images. `media` presents files, streams and archives as containers of bytes.
Not here: the store's side of an import (`store.ingest`). Start with `copy`, then `source`.
"""
