"""Timings against named baselines: python3 -m benchmarks."""
