"""Apply the signature policy: it decides which images may be imported, copied or used, before they are trusted.

    rules        the command's options for policies: which file, and whether signatures are required
    gate         `Gate`: judges the images of one source, after their manifests are read and before their configs
    signatures   the signatures of an image, from the attachments in a source or a store
    kept         verdicts that the store keeps for its images; they are checked before an image is run or mounted

The policy itself, and the cryptography, are in `trust`, which does not know sources or stores.
"""
