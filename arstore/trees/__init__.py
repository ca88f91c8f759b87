"""A layer as a tree that can be mounted.

`format` is the protocol of a tree form; `forms` lists the two forms, `directory` and `erofs`, and their properties.
`placement` decides where each entry of a tar goes, `skeleton` is the result in memory, `adaptation` fits a tree to the
layers below it. Not here: which layers an image has, and overlay mounts.
Start with `format`, then `placement`.
"""
