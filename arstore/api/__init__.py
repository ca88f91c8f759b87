"""The library: what `import arstore` gives to Python programs, and what the command line is made of.

    opening   where a store is by default, and how one is opened for a command or a program
    store     `Store`: every operation, as a method that takes and returns plain values
    values    these values: frozen data classes
    places    the default directories

`arstore.__init__` hands the public names out, each loaded when it is first used. docs/library.md documents them, and
says what stays stable. Everything here is a thin layer: the work is done in the rooms below.
"""
