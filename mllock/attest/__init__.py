"""Statements, signing and trust: keys, DSSE, Sigstore bundles, policy."""
