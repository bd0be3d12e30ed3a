"""Who is served next, the one thread that runs the model, and the heap it leaves."""
