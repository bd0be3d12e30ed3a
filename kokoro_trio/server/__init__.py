"""The port, which serves HTTP, and WebSocket sessions with their protocol."""
