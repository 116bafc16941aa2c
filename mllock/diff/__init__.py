"""What differs between two runs, locks or models: values, and reading that executes nothing."""
