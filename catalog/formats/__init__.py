"""Which format an image's bytes are in, whether it is safe, and how large the disk in it is."""
