"""The store's directory as files: where everything is (`paths`), and how files come and go.

New content is staged (`staging`) under the name of a living process (`owner`) and claimed (`claims`) while it is
written. Also free space, the reserve, the page cache, deleting directories, and containers' control groups.
Not here: what a blob or a tree contains, and what the graph records of it.
Start with `paths`, then `staging`.
"""
