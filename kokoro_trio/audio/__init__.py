"""From samples to what goes over the wire."""
