"""Plain domain objects."""
