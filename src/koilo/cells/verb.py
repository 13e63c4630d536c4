"""The verb classify: class probabilities of single-cell images, one CSV row an image."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from koilo.bundle import load_bundle
from koilo.cells.predict import CellClassifier, load_classifier
from koilo.errors import ConfigError, PixelSizeError, SlideError, SlideOpenError
from koilo.files import ensure_folder, write_text
from koilo.progress import log
from koilo.runtime import choose_device
from koilo.slides import open_slide

_BATCH = 256
_VIEWS = 8
_COARSEST = 1.3
_LARGEST_UM = 1_000.0
"""A picture wider than this is a field or slide, and its middle would be judged as a cell."""


@dataclass(frozen=True)
class ClassifyConfig:
    """What `koilo classify` reads, with which model, and where it writes."""

    images: tuple[str, ...] = field(metadata={"positional": "many"})
    """pictures of single cells, each centred on its cell: PNG, JPEG or TIFF"""
    mpp: float
    """µm per pixel of the pictures; it is never guessed"""
    out: Path = field(metadata={"result": False})
    """the CSV file to write: one row a picture, in order"""
    model: str = "cytology"
    """a built-in bundle's name, or a bundle's folder"""
    device: str = field(default="auto", metadata={"result": False})
    """auto, cpu or cuda"""


@dataclass(frozen=True)
class _Row:
    image: str
    error: str = ""
    probabilities: tuple[float, ...] = ()


def classify(config: ClassifyConfig) -> int:
    """Write class probabilities of single-cell images to a CSV file.

    Each picture is resampled to the bundle's pixel size, then centre-cropped or reflect-padded to
    its input size; eight turns and mirrorings are averaged. A picture that cannot be read is a row
    with status ``failed``, and the others go on.

    Returns:
        exit status: 0, or 1 where a picture failed.

    Raises:
        ConfigError: the pixel size is out of range or too coarse for the model.
        BundleError: the bundle cannot be used.
        OutputError: the CSV cannot be written.
    """
    classifier = load_classifier(
        load_bundle(config.model), choose_device(config.device), views=_VIEWS
    )
    _check_mpp(config.mpp, classifier.mpp)
    ensure_folder(config.out.parent)
    rows: list[_Row] = []
    for start in range(0, len(config.images), _BATCH):
        rows += _classify_batch(config.images[start : start + _BATCH], config.mpp, classifier)
    write_text(config.out, _csv(rows, classifier.classes))
    failed = [row for row in rows if row.error]
    for row in failed:
        log.error("failed: %s", row.error)
    log.info("%d images, %d failed: %s", len(rows), len(failed), config.out)
    return 1 if failed else 0


def read_cell_image(
    path: Path | str, mpp: float, crop_mpp: float, size_px: int
) -> NDArray[np.uint8]:
    """Read the middle of a picture as one crop.

    Args:
        path: a picture centred on its cell.
        mpp: µm per pixel of the picture.
        crop_mpp: µm per pixel of the crop.
        size_px: side of the crop; a smaller picture is mirrored at its edges.

    Returns:
        uint8 RGB ``(size_px, size_px, 3)``.

    Raises:
        SlideError: the picture cannot be read, or is too large to be one cell.
    """
    with open_slide(path, mpp=mpp) as picture:
        width, height = picture.dimensions
        if max(width, height) * mpp > _LARGEST_UM:
            raise SlideOpenError(
                f"{path} is {width} x {height} pixels, over {_LARGEST_UM:g} µm wide: no picture "
                "of one cell. Cut cells out first, or read the whole with `koilo screen`."
            )
        scale = crop_mpp / mpp
        inside = (max(1, int(width / scale)), max(1, int(height / scale)))
        origin = ((width - inside[0] * scale) / 2, (height - inside[1] * scale) / 2)
        image = picture.read_at_mpp(origin, crop_mpp, inside)
    return fit_to_square(image, size_px)


def fit_to_square(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Centre-crop or reflect-pad ``(H, W, 3)`` to ``(size_px, size_px, 3)``."""
    height, width = image.shape[:2]
    top, left = max(0, (height - size_px) // 2), max(0, (width - size_px) // 2)
    image = image[top : top + size_px, left : left + size_px]
    height, width = image.shape[:2]
    above, before = (size_px - height) // 2, (size_px - width) // 2
    padded = cv2.copyMakeBorder(
        np.ascontiguousarray(image),
        above,
        size_px - height - above,
        before,
        size_px - width - before,
        cv2.BORDER_REFLECT_101,
    )
    return np.asarray(padded, np.uint8)


def _check_mpp(mpp: float, model_mpp: float) -> None:
    if not 0.05 <= mpp <= 4:
        raise ConfigError(
            f"--mpp is {mpp:g}. Between 0.05 and 4 µm per pixel is allowed. Give the pictures' own "
            "pixel size, such as 0.25 for 40x."
        )
    if mpp > _COARSEST * model_mpp:
        raise ConfigError(
            f"--mpp is {mpp:g} µm, more than {_COARSEST:g} times coarser than the {model_mpp:g} µm "
            "of the cell model. Finer pictures are needed. Take them with a stronger objective."
        )


def _classify_batch(images: Sequence[str], mpp: float, classifier: CellClassifier) -> list[_Row]:
    crops, errors = [], {}
    for index, image in enumerate(images):
        try:
            crops.append(read_cell_image(image, mpp, classifier.mpp, classifier.input_px))
        except (SlideError, PixelSizeError) as error:
            errors[index] = str(error)
    side = classifier.input_px
    stacked = np.stack(crops) if crops else np.zeros((0, side, side, 3), np.uint8)
    probabilities = iter(classifier.predict(stacked)[1].tolist())
    return [
        _Row(image, errors[index])
        if index in errors
        else _Row(image, "", tuple(next(probabilities)))
        for index, image in enumerate(images)
    ]


def _csv(rows: Sequence[_Row], classes: Sequence[str]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["image", "status", "error", "label", *(f"p_{name}" for name in classes)])
    for row in rows:
        if row.error:
            writer.writerow([row.image, "failed", row.error, "", *([""] * len(classes))])
        else:
            label = classes[int(np.argmax(row.probabilities))]
            shown = [f"{p:.6f}" for p in row.probabilities]
            writer.writerow([row.image, "done", "", label, *shown])
    return buffer.getvalue()
