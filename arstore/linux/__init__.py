"""Thin wrappers for the operating system: one small function per call, raising OSError only.

`mounting` covers mounts and file systems, `files` covers files and directories, `isolation` covers namespaces and
privileges. Nothing here knows about images or stores. Constants come from the kernel's headers; each function's
docstring names the manual page or the kernel version that it relies on.
"""
