"""Downloads, converts, prepares and checks the weights."""
