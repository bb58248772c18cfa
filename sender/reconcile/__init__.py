"""The front-end that settles jobs in doubt without sending anything."""
