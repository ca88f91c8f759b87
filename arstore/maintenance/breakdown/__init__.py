"""Breakdown of disk usage for pictures and trees: from images over layers to directories.

`pieces` groups the bytes of the store by layer, and by the images that need them; `hierarchy` makes a tree of `part`s;
`steps` names the layers by the step of the build that made them. Start with `hierarchy`.
"""
