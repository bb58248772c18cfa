"""What became of what was sent: asked for by lists or told by webhooks, written beside the outcome log.

See docs/following.md.
"""
