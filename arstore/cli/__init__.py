"""The command line: parse, make one library call, render. The only importer of click, and the only package that exits.

`main` holds the program; every other module here is a command's, imported when that command runs, or what commands
share.
"""
