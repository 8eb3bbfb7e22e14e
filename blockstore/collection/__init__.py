"""The steps of a collection: what roots reach, which rows go, which files, which packs."""
