"""The tools that Comptroller itself offers to agents: one file for each group of them, one row each in `table.py`."""
