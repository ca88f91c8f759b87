"""Import of images: from the content of a source to records that other processes see.

`intake` sets the order; `inventory` finds what is missing, `layer_jobs` plans the reading of layers, `layer_pass` reads
one, `chain` adapts the trees of an image to each other, `publish` makes everything visible at once.
Archives and registries are in `transport`.
Start with `intake`.
"""
