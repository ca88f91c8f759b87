"""Files and directories: opening, copying, locking, renaming, syncing, extended attributes. Start with `openat2`."""
