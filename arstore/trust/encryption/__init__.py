"""Encryption of layers in the form of ocicrypt: recipients, keys, and the cipher.

A layer's blob is encrypted with a random key (`cipher`). The key and the other secrets are a small JSON document
(`options`). It is encrypted for each recipient as a JWE (`jwe`, keys in `jwk`) and stored in an annotation of the
layer's descriptor (`lock`). `key_file` reads the files that a user names, `unwrapping` decrypts layers' keys in a
separate process, `recipients` encrypts them.

Only JWE is supported: OpenPGP, PKCS #7, PKCS #11 and key providers are refused by name. Not here: manifests and blobs,
which callers read and write. Start with `lock`. For the reasons, see docs/design/decisions/0065.
"""
