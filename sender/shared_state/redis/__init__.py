"""The shared state in Redis: scripts on the server's own clock."""
