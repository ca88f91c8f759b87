"""Which tool reads what which tool has written: oci-archive, layout, docker-archive and dir:, for each pair of tools.

`tools/interop` runs all, compares digests, and prints docs/interop.md. Nothing here reads images by arstore but arstore
itself, which takes part as one of the tools.
"""
