"""`run` compared with podman's: the same invocations, with both programs, on one image.

`tools/run-comparison` runs all rows and prints docs/design/run-comparison.md. Both programs run in one system, with
the same OCI runtime and the same control groups. Compared are output, exit status, what the command sees of itself in
/proc, and what is left afterwards. Nothing but the program itself uses arstore's code.
"""
