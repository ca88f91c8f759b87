"""HTTP/1.1 as a registry client needs it, by the standard library: every wait has an end, and nothing is decoded.

`exchange` sends one request over connections that it keeps (`connection`); `redirects` follows where an answer leads;
`patience` says how often something is tried. Nothing here knows what a registry is.
"""
