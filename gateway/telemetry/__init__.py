"""What is told to the outside about calls: one canonical log line, Prometheus metrics."""
