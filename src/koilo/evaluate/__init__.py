"""Metrics, intervals and figures on plain arrays; no torch."""
