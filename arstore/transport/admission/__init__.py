"""Which images may come in, leave, or be used: a signature policy is asked before an image is believed.

    rules        what a command or a program says about policies: which file, and whether signatures are required
    gate         `Gate`: judges the images of one source, between their manifests and their configs
    signatures   the signatures of an image, from what a source or a store has attached to it
    kept         verdicts that are kept with an image of the store, and asked before it is run or mounted

The policy itself, and the cryptography, are in `trust`, which knows no source and no store.
"""
