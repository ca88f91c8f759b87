"""Commands that mount or run: load, run, exec, ps, mount, umount, commit, diff. `options` are those of run and load."""
