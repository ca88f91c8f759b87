"""Health checks of running containers: their schedule, their runs and their results."""
