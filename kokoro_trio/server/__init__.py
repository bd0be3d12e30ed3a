"""The port: HTTP on one side, WebSocket sessions and their protocol on the other."""
