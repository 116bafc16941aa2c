"""Images: trees, wheel, deb and folder layers, plans, configs, the native builder, reading."""
