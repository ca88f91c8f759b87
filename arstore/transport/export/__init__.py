"""Copy images from any source to any sink.

`export` is the algorithm, `content` reads and verifies blobs, `conversion` converts documents if that is requested,
`from_store` reads the store as a source.
Not here: imports into the store (`transport.copy`), and the media (`transport.sinks`). Start with `export`.
"""
