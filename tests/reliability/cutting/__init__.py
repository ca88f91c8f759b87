"""Power cuts, simulated on separate file systems: the disks, the machines that mount them, and their commands."""
