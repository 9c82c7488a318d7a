"""Counts tokens offline."""
