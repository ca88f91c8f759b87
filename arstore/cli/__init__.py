"""The command line: parse, make one library call, print. The only importer of click, and the only package that exits.

`main` is the program, `group` the table of commands. `line` reads plain command lines, `clicked` (click) all others.
`images`, `containers` and `upkeep` have the commands, each module imported when its command runs; `terminal` prints.
`session` is what commands share. Not here: anything that a library caller needs. Start with `group`.
"""
