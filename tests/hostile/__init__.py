"""Hostile images, each a case of a table: what they try, where they come in, and how that has to end.

Classes have the names of what is attacked. Registries and signatures have no code in arstore, and so no cases.
"""
