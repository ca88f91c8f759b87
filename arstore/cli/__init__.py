"""The command line: parse, make one library call, print. Only this package imports click and exits.

`main` is the program, `group` the table of commands. `line` reads plain command lines, `clicked` (click) all others.
`images`, `containers` and `upkeep` have the commands, each module imported when its command runs; `terminal` prints.
`session` has the state that commands share. Nothing that a library caller needs is here. Start with `group`.
"""
