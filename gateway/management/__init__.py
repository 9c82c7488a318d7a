"""The control plane: use cases shared by the admin API, the command line and the governance tools of MCP."""
