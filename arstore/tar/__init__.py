"""Tar streams: reading and writing entries, whiteouts, compression.

Nothing here depends on where a tree goes or how it is stored, and nothing writes to a file system.
"""
