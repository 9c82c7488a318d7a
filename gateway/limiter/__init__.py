"""Live counters behind one interface: in memory for one process."""
