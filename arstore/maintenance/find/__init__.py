"""`find`: which layers and images have a path, a content or a digest, and which hide it.

`query` is what is looked for, `scan` looks in the index of contents, `stacks` knows the layers of images, `visibility`
decides what an image shows, and `search` puts the answer together. Nothing is hashed here, and nothing is written.
"""
