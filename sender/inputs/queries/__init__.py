"""Databases as inputs: one query, read once into a private file, so that no transaction waits for a run to end."""
