"""Serving: the serving program with a run's model, on a runtime, until it is told to stop."""
