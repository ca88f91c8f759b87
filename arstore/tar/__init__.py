"""Reading and writing tar streams: entries, whiteouts, compression.

Knows nothing of where a tree goes or how it is kept. Nothing here writes to a file system.
"""
