"""Commands on the store as a whole: du, gc, check, backup, convert."""
