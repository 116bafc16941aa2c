"""Checking: targets are read, claims are decided, findings are reported. Imports no resolver and
no builder."""
