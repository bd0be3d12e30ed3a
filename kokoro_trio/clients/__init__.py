"""Clients of the WebSocket. They import neither torch nor PyAV."""
