"""The store's directory as files: where everything is (`paths`), and how files are added and removed.

New content is staged (`staging`) under the name of a living process (`owner`) and claimed (`claims`) while it is
written. This package also has free space, the reserve, the page cache, deletion of directories, and the control groups
of containers. Not here: what a blob or a tree contains, and what the graph records about it.
Start with `paths`, then `staging`.
"""
