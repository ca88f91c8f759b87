"""Commands about who made an image: policies and signatures, and the options that other commands have for them."""
