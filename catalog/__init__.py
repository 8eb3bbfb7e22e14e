"""Names, owners, rights, states; use cases over stores."""
