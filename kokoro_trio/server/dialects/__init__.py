"""Dialects of the WebSocket: each translates the messages of its clients to ours and back."""
