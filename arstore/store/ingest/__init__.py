"""How images come in: from the content that a source offers to records that others see.

`intake` is the order of things: `inventory` finds what is missing, `layer_jobs` plans the reading of layers,
`layer_pass` reads one, `chain` makes the trees of an image fit each other, `publish` makes it all visible at once.
Not here: archives and registries (`transport`).
Start with `intake`.
"""
