"""Adapters of the engine's ports, one technology a file."""
