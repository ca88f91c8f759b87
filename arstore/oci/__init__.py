"""The documents of the OCI image-spec 1.1 and of Docker's schema 2, as values: parsing and serialisation.

Also names, platforms and layer chains. This package uses no disk, network or store. For any input bytes it raises only
classes of `arstore.errors`.
"""
