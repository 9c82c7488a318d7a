"""MCP servers whose tools are offered through the gateway: how they are reached, listed and called."""
