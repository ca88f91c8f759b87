"""The private network of a container: programs that provide it, and ports of the host."""
