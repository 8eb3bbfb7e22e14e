"""Where to cut: pure functions over windows of bytes."""
