"""Backups of virtual machines that run: QEMU holds a moment, and what was written since the last one is pushed."""
