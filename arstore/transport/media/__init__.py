"""Containers of bytes: a directory, a seekable tar archive, a stream.

`base` is the protocol, `directory`, `archive` and `stream` implement it; `inflating` decompresses, `bounds` limits what
an archive may ask for. Not here: what the bytes mean. Start with `base`.
"""
