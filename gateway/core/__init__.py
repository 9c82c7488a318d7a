"""The pure core: values in, values out. No waiting, no clock, no randomness, no I/O."""
