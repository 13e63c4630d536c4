"""The tree of errors a user can meet.

::

    KoiloError
    ├── ConfigError          a setting, flag or field is wrong                  exit 2
    ├── OutputError          the output folder cannot be used                   exit 2
    ├── BundleError          a model bundle is missing, altered or unfit        exit 2
    ├── ManifestError        a manifest or data set is malformed or leaks       exit 2
    ├── DependencyError      an extra is not installed                          exit 2
    ├── TrainingError        training cannot go on (NaN loss, wrong checkpoint) exit 2
    └── SlideError           this slide cannot be read; others go on            exit 1
        ├── SlideOpenError   the file is not a slide this program can open
        ├── SlideReadError   the file opened, but pixels could not be read
        └── PixelSizeError   the pixel size is missing, absurd or too coarse

Every message is one line of three parts: what was wrong, what is allowed, what to do.
"""

from __future__ import annotations


class KoiloError(Exception):
    """Base of all errors whose message is meant for the user, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class ConfigError(KoiloError):
    """A setting, flag or field is unknown or out of range."""


class OutputError(KoiloError):
    """The output folder cannot be written, is full, or is in use by another run."""


class BundleError(KoiloError):
    """A model bundle is missing, altered, or does not fit what was asked of it."""


class ManifestError(KoiloError):
    """A manifest or data set is malformed, or its splits leak."""


class DependencyError(KoiloError):
    """A library that an optional feature needs is not installed."""


class TrainingError(KoiloError):
    """Training cannot go on: NaN loss, a checkpoint of another configuration, a full disk."""


class SlideError(KoiloError):
    """This slide cannot be read; a run records the reason and goes on with the next."""


class SlideOpenError(SlideError):
    """The file is not a slide that this program can open."""


class SlideReadError(SlideError):
    """The file was opened, but a region of it could not be read."""


class PixelSizeError(SlideError):
    """The pixel size (mpp) is missing, outside 0.05-4 µm, or too coarse for the model."""
