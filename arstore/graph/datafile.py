"""LMDB's data file: its name, and the sizes of the map that it is read through."""

from __future__ import annotations

DATA = "data.mdb"

MAP_SIZE = 16 << 30
"""Address space reserved for the environment, in bytes; the file grows only as it is written."""

HALVINGS = 14
"""How often that may have been halved where addresses are few: down to 1 MiB."""

DAMAGE_HINT = "`arstore check` tells more, and with --repair makes the graph again"
