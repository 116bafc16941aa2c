"""Probes: requests whose recorded answers a deployment has to give again."""
