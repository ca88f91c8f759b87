"""The contents of a tree: names, kinds and sizes, and digests of files, as an index over many trees keeps them.

`row` defines the rows, `page` their bytes, `file_digests` the digests that an import computes. The forms list their
trees as rows. Nothing here is part of a tree: it is made from one, and can be made again.
"""

AUTO, ALL, OFF = "auto", "sha256", "off"
MODES = (AUTO, ALL, OFF)
"""Values of `--file-digests`; see `file_digests`."""
