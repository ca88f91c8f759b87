"""What the processes of a container may do: capabilities, seccomp profiles, `--security-opt`. Start with `security`."""
