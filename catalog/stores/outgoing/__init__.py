"""Requests that leave: the only way by which the service asks what others name; the catalog's one home of aiohttp."""
