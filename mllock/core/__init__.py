"""Values without IO: digests, canonical JSON, safe paths, tree manifests, platforms, ports."""
