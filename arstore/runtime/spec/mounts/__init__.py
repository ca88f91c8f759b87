"""Everything that is mounted into a container: volumes, file systems in memory, the standard mounts.

Start with `volume`, the value that everything here is about, and `section`, which writes the mounts of config.json.
"""
