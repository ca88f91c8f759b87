"""Random stacks of layers, and every way in which they are shown."""
