"""The configuration file: its keys (`document`), trust and reading (`files`), the parsed form (`cache`), the values.

Nothing here is imported unless there is a file: `places.config_files` looks for one. Start with `settings`.
"""
