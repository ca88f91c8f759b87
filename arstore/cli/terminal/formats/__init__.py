"""`--format`: Go templates (the common part of them) and JSON paths, evaluated without running any code."""
