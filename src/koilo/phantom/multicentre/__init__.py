"""The multi-centre cohort: slides as ranked cells, of which only the best are drawn as crops."""
