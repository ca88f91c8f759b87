"""Completion of command lines in shells: the scripts for them, and the answers to what the scripts ask.

`scripts` has the scripts, `words` finds the position in a command line, `values` the words that fit there. The
declarations of the commands are used, not click. Neither opens the graph: names come from `index.json`.
"""
