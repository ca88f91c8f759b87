"""Random stacks of layers, and every way to show them."""
