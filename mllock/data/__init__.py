"""Data sources: scanning and hashing with all cores, the stat cache."""
