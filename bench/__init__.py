"""Measures the plugin beside the physical limit: ``python -m bench.run``."""
