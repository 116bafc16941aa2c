"""Projects of other tools, read into one common value, and written as an mlproject.toml.

`found` is the value, `documents` reads TOML and YAML with places, one module reads each format,
`folder` chooses which files of a folder count, `writer` makes the text. Nothing of the imported
project is ever run; nothing here looks at a disk but through the `Files` that are handed in.
"""
