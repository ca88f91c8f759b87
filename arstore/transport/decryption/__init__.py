"""Encrypted layers of a source: opened with the user's keys before anything else is done with them.

    selection ─▶ keys of layers ─▶ blob ─▶ verify digest and size ─▶ decrypt ─▶ spool ─▶ verify HMAC ─▶ new manifest

A layer is decrypted in one pass, with one piece of it in memory, into a file of the spool. Only from there it is
inflated, by the process that inflates any other layer, when its digest and its HMAC were right. The diff ID is checked
where it always is: when the store takes the layer, or here (*verify*), for copies to elsewhere.

What leaves is an ordinary image: its manifest names the plaintext blobs. Decision 65 says why. Without keys, encrypted
layers are blobs like others, which a copy moves unopened.

Start with `blobs`.
"""
