"""The wire: server, client, command line."""
