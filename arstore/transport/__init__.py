"""Where images come from and go to, one module a transport, and `copy`, which moves an image.

`detect` finds out what a path holds; `layout`, `docker_archive`, `dir` and `hybrid` read the formats; `selection`
chooses among several images. Files, streams and archives as containers of bytes are in `media`.
Not here: the store's side of an import (`store.ingest`). Start with `copy`, then `source`.
"""
