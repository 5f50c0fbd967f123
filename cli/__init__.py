"""The command: one file a subcommand. Parses, calls one verb, shows."""
