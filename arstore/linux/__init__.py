"""The operating system, one small function a call; raises OSError only.

`mounting` has mounts and file systems, `files` has files and directories, `isolation` has namespaces and rights.
Not here: every idea of arstore's. Constants are from the kernel's headers; each function's docstring names the manual
page or the kernel version that it relies on.
"""
