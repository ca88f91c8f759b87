"""Commands that look at containers: ps, inspect, top, stats."""
