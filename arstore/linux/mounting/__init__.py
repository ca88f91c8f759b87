"""Mounts, the mount table, loop devices, and properties of file systems. Start with `mount`."""
