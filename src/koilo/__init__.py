"""koilo reads cervical cytology and histology slides. Research use only."""

__version__ = "0.1.0"
