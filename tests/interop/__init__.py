"""Interoperability: every tool reads archives, layouts, dir: and registries that every tool has written.

`tools/interop` runs everything, compares digests, and prints docs/interop.md. Only arstore itself, which takes part as
one of the tools, reads images with arstore's code.
"""
