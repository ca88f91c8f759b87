"""Bundles that install arstore on a host without a network: wheels, or one executable file (`tools/bundle`)."""
