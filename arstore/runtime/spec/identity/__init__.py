"""Who a container runs as: its user and groups, entries for them, and maps of their ids."""
