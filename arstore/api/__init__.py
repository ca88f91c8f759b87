"""The library: the names that `import arstore` provides to Python programs.

    opening   default directories, and opening a store for a command or a program
    store     `Store`: every operation, as a method that takes and returns plain values
    values    these values: frozen data classes
    places    the default directories

`arstore.__init__` exports the public names, and loads each at its first use. docs/library.md documents them and their
stability. This package is a thin layer; the packages below it do the work.
"""
