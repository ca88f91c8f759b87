"""Commands for signatures and policies, and the options that other commands have for them."""
