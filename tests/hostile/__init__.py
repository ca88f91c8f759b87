"""Hostile images, each a case of a table: the attack, the entry point, and the expected outcome.

Classes are named after the target of the attack. Registries and signatures have separate tests.
"""
