"""Append-only files of entries."""
