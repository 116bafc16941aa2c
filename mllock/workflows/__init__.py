"""One module for each verb: rooms wired together, values in, values out, nothing printed."""
