"""Select the wanted images among those that a source lists: `selector` does it, the other modules are its parts."""
