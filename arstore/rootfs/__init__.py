"""Products of an image's trees: a mounted root file system, an unpacked one, a new layer.

`mount` mounts images and containers, `unpack` extracts, `upper` reads what a container wrote, `commit` makes an image
from it, `diff` lists it. Not here: running programs in it (`runtime`).
Start with `mount`.
"""
