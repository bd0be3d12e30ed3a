"""Records of requests, the metrics log, Prometheus metrics, and the log."""
