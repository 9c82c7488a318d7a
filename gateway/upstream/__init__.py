"""HTTP forwarding to providers: one port, one adapter a client, and a provider that is no network at all."""
