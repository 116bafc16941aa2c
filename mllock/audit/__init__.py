"""Known vulnerabilities of what a lock pins: what two services say, and what is ignored."""
