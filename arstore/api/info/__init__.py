"""The report of `arstore info`, about arstore on this host: nothing is changed, and no store is needed.

`report` puts the sections together: `versions`, `host`, `paths`, `store_state`, `mounting`, `abilities`. Each section
is a document for JSON with plain values; None stands for what could not be found out.
"""
