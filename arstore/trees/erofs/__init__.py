"""The tree form `erofs`: a layer's tar, kept as it is, and an EROFS image that is an index over it.

Files are never extracted: the index's inodes point into the tar, which is the image's second device. `form` is what the
store uses, `builder` and `image` write, `reader` and `verification` read, `mounting` mounts; `format` has the layout.
`merging` makes one index of several, which the store keeps as `merged_index` says.
"""
