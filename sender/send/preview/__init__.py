"""`sender preview`: jobs as they would be sent, and what would become of the whole input; nothing is sent."""
