"""Who is served next, and the one thread that runs the model."""
