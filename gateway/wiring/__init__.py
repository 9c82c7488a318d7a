"""Builds the objects by hand, in one place: the only package that names concrete adapters."""
