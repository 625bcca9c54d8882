"""Every figure of docs/performance.md: `python -m benchmarks`."""
