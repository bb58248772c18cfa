"""The front-end for files and stdin."""
