"""Sigstore signatures, verified with keys or with certificates, always offline.

`verify` has the three ways of a policy's `sigstoreSigned` (keys, Fulcio, a private PKI), `bundle` the form of cosign 3.
`rekor` reads a log's promises, `x509` certificates. Not here: Fulcio's and Rekor's servers, TUF.
Start with `verify`.
"""
