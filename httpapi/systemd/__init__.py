"""The unit that runs a server under systemd, with as little of the machine in reach as it needs."""
