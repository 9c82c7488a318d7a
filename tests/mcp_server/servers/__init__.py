"""Real MCP servers for the tests, each a program of its own, each with a fault or a feature of its own."""
