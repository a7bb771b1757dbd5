"""The command line: serve, demo, check, routes, connect."""
