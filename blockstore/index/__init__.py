"""Digest to place."""
