"""The operating system, one small function a call; raises OSError only.

Out of scope: every idea of arstore's. Constants are from the kernel's headers; each function's docstring names the
manual page or the kernel version that it stands on.
"""
