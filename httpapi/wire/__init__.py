"""What travels, shared by both ends; no I/O."""
