"""The MCP front door: governance tools, the tool proxy, HTTP and stdio transports."""
