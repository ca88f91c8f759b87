"""Many processes on one store: what the exercise `mixture` is made of."""
