"""The network of a container: its kind, published ports, and the files in /etc about names."""
