"""The command line: thin faces over the admin API, so that command line, API and portal can never differ."""
