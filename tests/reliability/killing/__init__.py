"""Parts of the exercise that kills arstore: the victim, its store, the scenarios, and the verdict."""
