"""Many slides: the verbs screen and demo, resume, the run's summary."""

from koilo.screen.run import ScreenConfig, screen

__all__ = ["ScreenConfig", "screen"]
