"""Namespaces, capabilities, Landlock, seccomp, priorities: what a process may do. Start with `namespace`."""
