"""Container engines: images that they hold, containers that they run, seen from outside."""
