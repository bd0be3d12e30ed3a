"""The wire contract that the server and the clients share. It imports neither torch nor PyAV."""
