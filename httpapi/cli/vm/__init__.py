"""`drystone vm`: backups of virtual machines."""
