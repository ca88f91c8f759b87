"""Which tool reads what which tool has written: archives, layouts, dir: and registries, for each pair of tools.

`tools/interop` runs all, compares digests, and prints docs/interop.md. Nothing here reads images by arstore but arstore
itself, which takes part as one of the tools.
"""
