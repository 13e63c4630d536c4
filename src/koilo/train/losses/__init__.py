"""Losses of the recipes, one a file, each held to a slow literal reference in its test."""
