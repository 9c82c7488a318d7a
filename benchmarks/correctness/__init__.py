"""Benchmarks of correctness: each drives a real gateway where others go wrong, and gives a figure and a verdict."""
