"""mlproject.toml: types, reading with places, meaning, JSON Schema. No effect but reading files."""
