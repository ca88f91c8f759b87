"""Signing images: in the store, in a registry, or on the way to a destination.

    signer   `Signer`: a key, and what it makes of a manifest: attachments, and files for media that keep files
    place    signing what the store or a registry has already

The formats and the cryptography are in `trust`.
"""
