"""Metadata definitions: what may be said of them, as a table of the kinds of things that a namespace has."""
