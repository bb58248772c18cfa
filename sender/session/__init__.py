"""One session behind every front-end: what is opened, supervised and closed around the lanes."""
