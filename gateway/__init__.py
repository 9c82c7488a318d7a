"""Comptroller: a runtime control layer for AI usage."""
