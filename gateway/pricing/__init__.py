"""What models cost: the bundled price list, and the operator's own prices above it."""
