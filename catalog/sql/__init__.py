"""The catalog in SQL; the one home of sqlalchemy."""
