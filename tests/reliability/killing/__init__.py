"""Parts of the exercise that kills arstore: the victim, the store it works on, the scenarios, and the verdict."""
