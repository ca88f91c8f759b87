"""The options of `run`, `create` and `load`, by theme: their declarations, and their meaning as values."""
