"""Commands about who made an image: keys and signatures."""
