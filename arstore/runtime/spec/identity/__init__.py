"""The user and groups of a container, their entries in its files, and maps of their ids."""
