"""The store: blobs by digest, the layer graph, trees, mounts.

Knows nothing of where images come from. The on-disk layout and the rules that keep it whole are in
`docs/design/store-format.md`.
"""
