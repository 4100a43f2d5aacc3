"""Helpers of the benchmarks: no entry points for people. Programs here are started by the benchmarks."""
