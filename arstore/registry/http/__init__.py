"""HTTP/1.1 for a registry client, on the standard library: every wait is bounded, and no content is decoded.

`exchange` sends one request over connections that it keeps (`connection`); `redirects` follows redirects; `patience`
says how often a request is tried. Nothing here is specific to registries.
"""
