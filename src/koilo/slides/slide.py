"""Open a slide of any format and read any region of it at any pixel size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from koilo.errors import PixelSizeError, SlideReadError
from koilo.slides.backend import Image, SlideBackend
from koilo.slides.formats import open_backend
from koilo.slides.pixel_size import check_given_mpp
from koilo.slides.regions import read_scaled

_MISMATCH = 0.05


def open_slide(path: Path | str, *, mpp: float | None = None) -> Slide:
    """Open a slide, a DICOM folder or a plain image, to be used as a context manager.

    Args:
        path: a slide file, a folder of ``.dcm`` files, or a PNG, JPEG, BMP or TIFF picture.
        mpp: µm per pixel of level 0, instead of what the file says (kept in ``file_mpp``).

    Raises:
        SlideOpenError: the file is missing, damaged, or of no format known here.
        PixelSizeError: the ``mpp`` given is outside 0.05-4 µm; what the *file* says never refuses.
    """
    given = None if mpp is None else check_given_mpp(mpp, path)
    return Slide(Path(path), open_backend(Path(path)), given)


class Slide:
    """A slide or field that is open. Reads are thread-safe; coordinates say their frame.

    ``mpp_source`` is ``file``, ``given`` or ``none: <reason>``; ``mpp_origin`` names the tag of the
    file, ``objective_origin`` likewise. ``synthetic`` is ``phantom`` or ``composed`` for a slide
    that koilo made, else None. ``level_downsamples`` are OpenSlide's (mean ratio of the sizes);
    ``levels`` hold those that koilo computes by, with the rounding of sizes undone.
    """

    def __init__(self, path: Path, backend: SlideBackend, given_mpp: float | None = None) -> None:
        self.path = path
        self._backend = backend
        facts = backend.facts
        self.kind = backend.kind
        self.backend = backend.name
        self.format = facts.format
        self.vendor = facts.vendor
        self.levels = backend.levels
        self.dimensions = (self.levels[0].width_px, self.levels[0].height_px)
        self.level_dimensions = tuple((at.width_px, at.height_px) for at in self.levels)
        self.level_downsamples = tuple(
            (self.dimensions[0] / width + self.dimensions[1] / height) / 2
            for width, height in self.level_dimensions
        )
        self.file_mpp = facts.mpp
        self.mpp_origin = facts.mpp_origin
        self.mpp: float | None = given_mpp if given_mpp is not None else facts.mpp
        self.mpp_source = _mpp_source(given_mpp, facts.mpp, facts.mpp_origin)
        self.objective = facts.objective
        self.objective_origin = facts.objective_origin
        self.bounds_px0 = facts.bounds_px0 or (0, 0, *self.dimensions)
        self.reader_note = facts.reader_note
        self.properties: Mapping[str, str] = dict(facts.properties)
        self.synthetic = _synthetic(self.properties)
        self.associated_images: Mapping[str, Image] = _AssociatedImages(backend)

    @property
    def mpp_mismatch(self) -> bool:
        """True where the pixel size given and the file's own differ by more than 5 %."""
        if self.mpp is None or self.file_mpp is None:
            return False
        return abs(self.mpp / self.file_mpp - 1) > _MISMATCH

    def read_region(
        self, origin_px0: tuple[float, float], level: int, size_px: tuple[int, int]
    ) -> Image:
        """Read ``size_px = (width, height)`` pixels of ``level``, top left at ``origin_px0``.

        Returns:
            uint8 (height, width, 3); white outside the slide.

        Raises:
            SlideReadError: there is no such level, or a tile cannot be decoded.
        """
        if not 0 <= level < len(self.levels):
            raise SlideReadError(
                f"{self.path} has no level {level}. It has 0 to {len(self.levels) - 1}. "
                "Choose one of these, or use read_at_downsample."
            )
        width, height = _checked(size_px)
        only = self.levels[level : level + 1]
        return read_scaled(
            lambda _, x, y, w, h: self._backend.read_level(level, x, y, w, h),
            only,
            origin_px0,
            only[0].downsample,
            (width, height),
        )

    def read_at_downsample(
        self, origin_px0: tuple[float, float], downsample: float, size_px: tuple[int, int]
    ) -> Image:
        """Read ``size_px = (width, height)`` pixels of ``downsample`` level-0 pixels each.

        Made from the nearest finer level, antialiased; a downsample below 1 enlarges.

        Returns:
            uint8 (height, width, 3); white outside the slide.

        Raises:
            SlideReadError: a tile cannot be decoded.
        """
        if not downsample > 0:
            raise ValueError(f"downsample must be above 0, not {downsample}")
        read = self._backend.read_level
        return read_scaled(read, self.levels, origin_px0, downsample, _checked(size_px))

    def read_at_mpp(
        self, origin_px0: tuple[float, float], mpp: float, size_px: tuple[int, int]
    ) -> Image:
        """Read ``size_px = (width, height)`` pixels of ``mpp`` µm each, top left at ``origin_px0``.

        Returns:
            uint8 (height, width, 3); white outside the slide.

        Raises:
            PixelSizeError: the slide's pixel size is unknown.
            SlideReadError: a tile cannot be decoded.
        """
        return self.read_at_downsample(origin_px0, self.downsample_at(mpp), size_px)

    def downsample_at(self, mpp: float) -> float:
        """Level-0 pixels per pixel of ``mpp`` µm.

        Raises:
            PixelSizeError: the slide's pixel size is unknown.
        """
        if self.mpp is None:
            reason = self.mpp_source.removeprefix("none: ")
            raise PixelSizeError(
                f"{self.path} has no pixel size: {reason}. Between 0.05 and 4 µm per pixel is "
                "needed. Give it with --mpp or in the manifest's mpp column."
            )
        return mpp / self.mpp

    def thumbnail(self, max_size_px: tuple[int, int]) -> Image:
        """Read the whole slide, as large as fits ``(max_width, max_height)``, never enlarged.

        Returns:
            uint8 (height, width, 3).
        """
        width, height = self.dimensions
        downsample = max(width / max_size_px[0], height / max_size_px[1], 1.0)
        size = (max(1, round(width / downsample)), max(1, round(height / downsample)))
        return self.read_at_downsample((0, 0), downsample, size)

    def close(self) -> None:
        """Let go of the file; reading afterwards is an error."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _AssociatedImages(Mapping[str, Image]):
    """Label, macro, thumbnail … by name, each decoded when it is asked for."""

    def __init__(self, backend: SlideBackend) -> None:
        self._backend = backend
        self._names = backend.associated_names()

    def __getitem__(self, name: str) -> Image:
        if name not in self._names:
            raise KeyError(name)
        return self._backend.read_associated(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # the inherited one would decode the image to find out


def _mpp_source(given: float | None, file_mpp: float | None, origin: str) -> str:
    if given is not None:
        return "given"
    return "file" if file_mpp is not None else f"none: {origin}"


def _synthetic(properties: Mapping[str, str]) -> str | None:
    """What koilo's own pyramid writer left in the description: phantom, composed or nothing."""
    text = properties.get("tiff.ImageDescription", "")
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text).get("synthetic")
    except (json.JSONDecodeError, AttributeError):
        return None
    return value if value in ("phantom", "composed") else None


def _checked(size_px: tuple[int, int]) -> tuple[int, int]:
    width, height = int(size_px[0]), int(size_px[1])
    if width < 1 or height < 1:
        raise ValueError(f"a region is at least 1 x 1 pixels, not {width} x {height}")
    return width, height
