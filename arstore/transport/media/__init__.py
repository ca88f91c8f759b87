"""Containers of bytes: a directory, a tar archive that can be sought in, a stream that cannot.

`base` is the protocol, `directory`, `archive` and `stream` implement it; `inflating` decompresses, `bounds` limits what
an archive may ask for. Not here: what the bytes mean. Start with `base`.
"""
