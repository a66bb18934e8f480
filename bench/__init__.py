"""Measurements of BitTrade against itself and against a peer. `make bench` runs `__main__`; they assert nothing."""
