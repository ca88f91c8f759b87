"""Looking after a store: what it uses (`usage`), what nothing holds (`gc`), what is damaged (`check`).

Findings are values that these modules return; only what keeps them from looking is an exception.
"""
