"""Reporting webhooks: received, checked, made durable, and only then acknowledged (docs/following.md, "Webhooks")."""
