"""What is compared with what, in one run each: `python -m benchmarks.NAME --json`. See docs/benchmarks.md."""
