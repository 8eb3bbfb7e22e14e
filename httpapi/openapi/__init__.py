"""The service's routes as an OpenAPI document: what is written by hand of each, and what is put together from it."""
