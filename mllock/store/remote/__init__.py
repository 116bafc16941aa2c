"""Remote data sources: asking http servers and object stores, and bringing files into the cache."""
