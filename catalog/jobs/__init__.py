"""Work that goes on after a request was answered."""
