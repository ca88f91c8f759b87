"""Power cuts, simulated on file systems of their own: disks, machines that have them mounted, what runs there."""
