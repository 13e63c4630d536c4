"""Hypothesis for the measures: pytest's own limit holds, for a loaded machine is not an error."""

from hypothesis import settings

settings.register_profile("measures", deadline=None, max_examples=30)
settings.load_profile("measures")
