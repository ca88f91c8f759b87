"""The rights of a container's processes: capabilities, seccomp profiles, `--security-opt`. Start with `security`."""
