"""The documents of the OCI image-spec 1.1 and of Docker's schema 2, as values: bytes in, values and bytes out.

Also names, platforms and layer chains. Knows nothing of disks, networks or stores. Whatever the bytes hold, only
classes of `arstore.errors` come out of here.
"""
