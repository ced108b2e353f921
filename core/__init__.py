"""The plugin behind its door; the reading order of the files is in CONTRIBUTING.md."""
