"""Pictures: HTML pages, SVG and DOT that are complete in one file, made of data that may be hostile.

`page` puts a page together; `treemap` is the picture of `du`, `layer_page`, `layer_svg` and `layer_dot` those of
`layers`. Text goes through `markup`. The scripts and styles are the files next to these modules.
"""
