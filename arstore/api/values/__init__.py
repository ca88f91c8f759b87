"""The values of the library: frozen data classes without a connection to a store. They can be compared and pickled.

Sizes are in bytes, digests are strings (`sha256:…`), times are RFC 3339 strings in UTC.
"""
