"""From what a source lists to the images that are wanted: `selector` does it, the others each know a part."""
