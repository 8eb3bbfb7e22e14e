"""Giving back what is dead in packs, and putting images that are strewn over packs in order."""
