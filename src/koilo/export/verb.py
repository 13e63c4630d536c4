"""The verb export: files that other systems take, beside the report of each slide."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from koilo.config import nearest
from koilo.errors import ConfigError, DependencyError, KoiloError, OutputError
from koilo.export.codes import Codes, load_codes
from koilo.export.dicom import ANNOTATIONS, QUALITY, STRUCTURED_REPORT, write_dicom_results
from koilo.export.patients import Patient, read_patients
from koilo.export.record import Record, read_record
from koilo.files import folder_lock, remove_file, write_bytes, write_text
from koilo.progress import log
from koilo.report.laboratory import Laboratory, read_laboratory
from koilo.report.language import LANGUAGES
from koilo.report.page import report_html
from koilo.results import RESULT, read_slide_result

FORMATS = ("pdf", "html", "fhir", "hl7", "dicom", "geojson")
CLINICAL_FORMATS = ("fhir", "hl7", "dicom")
"""What goes into a hospital's systems: made slides must not get there unmarked."""

Pdf = Callable[[], bytes]
"""Makes the report's PDF, once a slide."""

REPORT_PDF, FHIR, HL7 = "report.pdf", "fhir.json", "oru.hl7"
REPORT_HTML = {language: f"report_{language}.html" for language in LANGUAGES}
"""By language: report.html itself stays in the laboratory's."""
CELLS_GEOJSON = "cells.geojson.gz"


@dataclass(frozen=True)
class ExportConfig:
    """Which slides of a results folder are written, as what, and for whom."""

    results: Path = field(metadata={"positional": "one"})
    """the results folder that `koilo screen` made"""
    to: tuple[str, ...] = field(metadata={"many": True})
    """pdf, html, fhir, hl7, dicom, geojson: one or several"""
    slide: str | None = None
    """only this slide (its slide_id); default: every slide that was read"""
    language: str | None = None
    """en or zh: of pages and of the texts of FHIR and HL7; default: laboratory.yaml's, or en"""
    patients: Path | None = None
    """CSV of slide_id, patient_id, family, given, birth_date, sex; without it none is named"""
    codes: Path | None = None
    """YAML table whose LOINC and SNOMED CT identifiers replace koilo's"""
    no_snomed: bool = False
    """leave out SNOMED CT codes in FHIR and HL7 (DICOM's own subset is free to use)"""
    test_data: bool = False
    """write FHIR, HL7 and DICOM of made slides too; they are marked as test data"""

    def __post_init__(self) -> None:
        """Refuse unknown words, all in one error; formats may also be parted by commas."""
        names = (name.strip() for words in self.to for name in words.split(","))
        object.__setattr__(self, "to", tuple(name for name in names if name))
        problems = [
            f"there is no format '{name[:40]}'. {nearest(name, FORMATS)}"
            for name in self.to
            if name not in FORMATS
        ]
        if not self.to:
            problems.append(f"--to names nothing (allowed: {', '.join(FORMATS)})")
        if self.language not in (None, *LANGUAGES):
            problems.append(
                f"language is '{str(self.language)[:20]}' (allowed: {', '.join(LANGUAGES)})"
            )
        if problems:
            raise ConfigError(f"koilo export: {'; '.join(problems)} See `koilo export --help`.")


def export(config: ExportConfig) -> int:
    """Write results as PDF, FHIR, HL7, DICOM or GeoJSON beside the report.

    Unsigned results are preliminary in every format; with ``intended_use: research``, the default
    of laboratory.yaml, signed ones are, too.

    A slide or format that cannot be written is named in one line, and the others go on; a file of
    that name from an earlier export is removed, so that none is out of date.

    Returns:
        exit status: 0, or 1 where a slide failed, or a format of one could not be written.

    Raises:
        OutputError: there is no results folder, no such slide in it, or another run is using it.
        ConfigError: the table of codes or laboratory.yaml is malformed.
        ManifestError: the list of patients is malformed.
        DependencyError: the extra is not installed.
    """
    folders = _folders(config)
    codes = load_codes(config.codes, snomed=not config.no_snomed)
    laboratory = read_laboratory(config.results)
    patients = read_patients(config.patients) if config.patients else {}
    _warn_of_missing(config, patients, folders)
    n_refused = 0
    with folder_lock(config.results):  # neither signed nor screened anew meanwhile
        for folder in folders:
            patient = patients.get(unicodedata.normalize("NFC", folder.name))
            n_refused += _export_slide(folder, config, codes, laboratory, patient)
    if n_refused:
        log.error("%d files or groups of files were not written: see above", n_refused)
    return 1 if n_refused else 0


def _folders(config: ExportConfig) -> list[Path]:
    """The folders of the slides asked for, in order of slide_id."""
    found = sorted(path.parent for path in config.results.glob(f"*/{RESULT}"))
    if not found:
        raise OutputError(
            f"{config.results} holds no results. A folder that `koilo screen --out` made is "
            "needed. Check the path."
        )
    if config.slide is None:
        return found
    wanted = unicodedata.normalize("NFC", config.slide)
    chosen = [path for path in found if unicodedata.normalize("NFC", path.name) == wanted]
    if not chosen:
        names = [path.name for path in found]
        hint = nearest(config.slide, names) if len(names) < 20 else "slides.csv lists them."
        raise OutputError(f"{config.results} has no slide '{config.slide[:80]}'. {hint}")
    return chosen


def _warn_of_missing(
    config: ExportConfig, patients: dict[str, Patient], folders: Sequence[Path]
) -> None:
    known = {unicodedata.normalize("NFC", path.name) for path in folders}
    for slide_id in known - set(patients) if patients else ():
        log.warning("%s: %s names no patient, so its files name none", slide_id, config.patients)


def _export_slide(
    folder: Path,
    config: ExportConfig,
    codes: Codes,
    laboratory: Laboratory,
    patient: Patient | None,
) -> int:
    """Write one slide's files; gives how many of its formats could not be written."""
    try:
        record = read_record(
            folder,
            patient=patient,
            laboratory=laboratory,
            language=config.language or laboratory.language,
            test_data=config.test_data,
        )
    except KoiloError as error:
        if config.slide is None and _failed(folder):
            log.warning("left out: %s", error)
            return 0
        log.error("not written: %s", error)
        return 1

    @cache
    def pdf() -> bytes:  # several formats hold it
        from koilo.report.pdf import report_pdf

        return report_pdf(folder, record.language)

    n_refused = 0
    for name in dict.fromkeys(config.to):
        try:
            _check_synthetic(record, name)
            for path in _WRITERS[name](record, codes, pdf):
                log.info("%s", path)
        except DependencyError:
            raise
        except KoiloError as error:
            log.error("%s, %s not written: %s", record.result.slide_id, name, error)
            _remove(folder, name)
            n_refused += 1
    return n_refused


def _failed(folder: Path) -> bool:
    try:
        return read_slide_result(folder, with_cells=False).status == "failed"
    except OutputError:
        return False


def _check_synthetic(record: Record, name: str) -> None:
    kind = record.result.slide.get("synthetic")
    if kind and name in CLINICAL_FORMATS and not record.test_data:
        raise OutputError(
            f"it is a {kind} slide, no specimen of a person. Made slides do not belong into a "
            "hospital's systems. Pass --test-data to write it marked as test data."
        )


def _remove(folder: Path, name: str) -> None:
    for file in _FILES[name]:
        remove_file(folder / file)


def _write_pdf(record: Record, codes: Codes, pdf: Pdf) -> list[Path]:
    path = record.folder / REPORT_PDF
    write_bytes(path, pdf())
    return [path]


def _write_html(record: Record, codes: Codes, pdf: Pdf) -> list[Path]:
    path = record.folder / REPORT_HTML[record.language]
    write_text(path, report_html(record.folder, record.language))
    return [path]


def _write_fhir(record: Record, codes: Codes, pdf: Pdf) -> list[Path]:
    from koilo.export.fhir import build_bundle, fhir_json

    path = record.folder / FHIR
    write_text(path, fhir_json(build_bundle(record, codes, pdf())))
    return [path]


def _write_hl7(record: Record, codes: Codes, pdf: Pdf) -> list[Path]:
    from koilo.export.hl7 import build_message

    path = record.folder / HL7
    write_text(path, build_message(record, codes, pdf()))
    return [path]


def _write_dicom(record: Record, codes: Codes, pdf: Pdf) -> list[Path]:
    return write_dicom_results(record)


def _write_geojson(record: Record, codes: Codes, pdf: Pdf) -> list[Path]:
    from koilo.export.geojson import build_geojson

    path = record.folder / CELLS_GEOJSON
    write_bytes(path, build_geojson(record))
    return [path]


Writer = Callable[[Record, Codes, Pdf], list[Path]]
_WRITERS: dict[str, Writer] = {
    "pdf": _write_pdf,
    "html": _write_html,
    "fhir": _write_fhir,
    "hl7": _write_hl7,
    "dicom": _write_dicom,
    "geojson": _write_geojson,
}
_FILES = {
    "pdf": (REPORT_PDF,),
    "html": tuple(REPORT_HTML.values()),
    "fhir": (FHIR,),
    "hl7": (HL7,),
    "dicom": (STRUCTURED_REPORT, ANNOTATIONS, QUALITY),
    "geojson": (CELLS_GEOJSON,),
}
