"""Sign images: in the store, in a registry, or while they are copied.

    signer   `Signer`: a key, and the signatures it makes of a manifest, as attachments, and as files for some media
    place    sign images that are in the store or in a registry already

The formats and the cryptography are in `trust`.
"""
