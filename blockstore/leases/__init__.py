"""Who is writing, who is alive."""
