"""`sync`: copy many images from registries or directories to another place, repeatedly.

`wishes` describes which images of registries the user wants, `yaml_file` reads that from a file. `registries` and
`directories` find the images at the source, the `*_place` modules are the destinations, `run` copies.
The copy of one image is in `transport.export` and `transport.copy`. Start with `run`.
"""
