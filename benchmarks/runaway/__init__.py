"""Runaway agents and honest ones against a real gateway: what each costs until it is stopped, and who is stopped
without need. Run: make bench-runaway"""
