"""The tree form `erofs`: a layer's tar, unchanged, and an EROFS image that is an index over it.

Files are never extracted: the inodes of the index point into the tar, which is the image's second device. The store
uses `form`; `builder` and `image` write, `reader` and `verification` read, `mounting` mounts; `format` has the layout.
`merging` makes one index from several, which the store keeps as described in `merged_index`.
"""
