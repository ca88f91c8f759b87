"""Mounts, the mount table, loop devices, and what the kernel says of file systems. Start with `mount`."""
