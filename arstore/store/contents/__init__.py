"""The index of contents: the names and digests of files of all trees, in a few large files.

It is a cache. `find` and `du --duplicates` read it, because opening 10^5 trees after a reboot takes a minute. A tree
that it lacks is read itself. What it says about a tree stays true: the key of a tree determines what is in it.
"""
