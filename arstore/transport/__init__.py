"""Where images come from and go to, one module a medium, and `copy`, the only algorithm that moves an image."""
