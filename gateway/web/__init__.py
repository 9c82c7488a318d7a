"""The HTTP face: the data plane, the admin API, health and the portal."""
