"""The pacer: at most N requests in any sliding second, and the guard that keeps the server's count there too."""
