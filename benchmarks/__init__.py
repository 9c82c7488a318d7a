"""Measures what the gateway costs: `python -m benchmarks.run`. How and what it found: docs/performance.md."""
