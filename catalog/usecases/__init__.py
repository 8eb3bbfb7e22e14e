"""Use cases, as straight lines."""
