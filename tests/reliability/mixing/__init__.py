"""Many processes on one store: the parts of the exercise `mixture`."""
