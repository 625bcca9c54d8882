"""Benchmarks: ratios measured in one run, as medians of interleaved rounds. `python -m benchmarks`."""
