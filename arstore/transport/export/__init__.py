"""Copying images from any source to any sink.

`export` is the algorithm, `content` reads and verifies blobs, `conversion` makes other documents where that is asked
for, `from_store` reads the store as a source.
Not here: into the store (`transport.copy`), and the media themselves (`transport.sinks`). Start with `export`.
"""
