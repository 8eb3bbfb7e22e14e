"""Figures of the running service, for Prometheus; the one home of prometheus_client."""
