"""mlproject.lock: types, format, comparing, and resolving behind ports."""
