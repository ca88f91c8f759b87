"""The rows: shell scripts that use either program in the same way."""
