"""Looking at containers from outside: what is known of them, their processes, and what they use of the host."""
