"""Encodes samples into the audio formats of the wire and of files, and decodes them."""
