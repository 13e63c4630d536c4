"""Tile and cell encoders by name."""
