"""Losses, one a file, each held to a slow literal version in its test."""
