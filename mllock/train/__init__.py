"""Training: plans, runtimes, records, run folders."""
