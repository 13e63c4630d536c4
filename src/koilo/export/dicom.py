"""The three DICOM files of one slide: which are written, and what is said where one is not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from koilo.errors import DependencyError, SlideOpenError
from koilo.export.dicom_source import DicomSource, read_source
from koilo.export.record import Record
from koilo.files import remove_file
from koilo.progress import log

STRUCTURED_REPORT, ANNOTATIONS, QUALITY = "sr.dcm", "annotations.dcm", "quality_seg.dcm"


def write_dicom_results(record: Record) -> list[Path]:
    """Write sr.dcm and annotations.dcm where cells were kept, and quality_seg.dcm.

    Returns:
        the files that were written.

    Raises:
        SlideError: the slide is gone, no DICOM slide, or cannot be read.
        DependencyError: highdicom is not installed.
    """
    _require_highdicom()
    source = read_source(record.result)
    _warn(record, source)
    for name in (STRUCTURED_REPORT, ANNOTATIONS, QUALITY):
        remove_file(record.folder / name)
    if not record.result.cells:
        log.warning(
            "%s: no cell was kept, so there is no %s and no %s",
            record.result.slide_id, STRUCTURED_REPORT, ANNOTATIONS,
        )  # fmt: skip
    with _refusals(record):
        written = _write_cells(record, source) if record.result.cells else []
        return written + _write_quality(record, source)


@contextmanager
def _refusals(record: Record) -> Iterator[None]:
    """What highdicom says of an odd source becomes one line, and other slides go on."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SlideOpenError(
            f"{record.result.path} cannot be referred to ({type(error).__name__}: {error}). Every "
            "attribute of a whole-slide image must be sound. Export it from the scanner again."
        ) from error


def _require_highdicom() -> None:
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            f"DICOM export needs highdicom, which is not installed ({error}). Install the extra: "
            "pip install 'koilo[export]'."
        ) from error


def _warn(record: Record, source: DicomSource) -> None:
    slide_id = record.result.slide_id
    if source.filled:
        log.warning(
            "%s: its DICOM lacks %s: empty in what is written", slide_id, ", ".join(source.filled)
        )
    if not source.positions_known:
        log.warning(
            "%s: its DICOM does not say where its first pixel lies: cells are given in pixels, "
            "and the quality mask as if it lay at 0, 0", slide_id,
        )  # fmt: skip
    elif not source.shared_frame:
        log.warning(
            "%s: each level has its own frame of reference: cells are given in pixels of level 0",
            slide_id,
        )


def _write_cells(record: Record, source: DicomSource) -> list[Path]:
    from koilo.export.dicom_annotations import build_annotations
    from koilo.export.dicom_object import write_dicom
    from koilo.export.dicom_report import build_report

    report, annotations = (record.folder / name for name in (STRUCTURED_REPORT, ANNOTATIONS))
    write_dicom(report, build_report(record, source))
    write_dicom(annotations, build_annotations(record, source))
    return [report, annotations]


def _write_quality(record: Record, source: DicomSource) -> list[Path]:
    from koilo.export.dicom_object import write_dicom
    from koilo.export.dicom_quality import build_quality, measure_quality

    quality = measure_quality(record, source)
    if not quality.masks:
        log.warning(
            "%s: nothing on it was read, so there is no %s", record.result.slide_id, QUALITY
        )
        return []
    path = record.folder / QUALITY
    write_dicom(path, build_quality(record, source, quality))
    return [path]
