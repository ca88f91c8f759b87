"""Commands that mount or run: load, run, exec, ps, mount, umount, commit, diff. `options` is for run and load."""
