"""The tree form `directory`: a layer's files, extracted, on any file system.

The store uses `form`; `builder` and `extraction` write, `verification` compares with `checksums`. `unpacker` extracts a
whole image for the user. Not here: overlay mounts, and the form `erofs`.
Start with `form`.
"""
