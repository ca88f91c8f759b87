"""Encrypted layers of a source are decrypted with the user's keys before anything else is done with them.

    selection ─▶ keys of layers ─▶ blob ─▶ verify digest and size ─▶ decrypt ─▶ spool ─▶ verify HMAC ─▶ new manifest

A layer is decrypted in one pass, one piece at a time, into a file of the spool. Only from there, after its digest and
its HMAC were verified, it is decompressed by the process that decompresses all layers. The diff ID is checked as usual
when the store takes the layer, or here (*verify*) for copies to other places.

The result is an ordinary image: its manifest names the plaintext blobs. See decision 65 for the reasons. Without keys,
encrypted layers are blobs like others, which a copy moves as they are.

Start with `blobs`.
"""
