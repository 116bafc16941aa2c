"""The command line: one module for each command group; the only place that prints or exits."""
