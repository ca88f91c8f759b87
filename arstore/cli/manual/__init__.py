"""Manual pages, made from the declarations of the commands, as `--help` is.

`pages` has the content, `roff` the format, `command` the command that writes them.
"""
