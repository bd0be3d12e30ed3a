"""Events of the server: records of requests in the metrics log, Prometheus metrics, and the log."""
