"""Several server processes on one port: the one that starts and watches them, and each of them."""
