"""The report as a PDF: the same page, laid out for paper by WeasyPrint (extra ``export``)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from koilo.errors import DependencyError
from koilo.report.page import report_html


def report_pdf(folder: Path, language: str | None = None) -> bytes:
    """One slide's report as PDF.

    Args:
        folder: the slide's results, ``DIR/<slide_id>``.
        language: ``en`` or ``zh``; default: that of laboratory.yaml.

    Raises:
        DependencyError: WeasyPrint or the system's Pango is not installed.
        OutputError: the folder holds no report, or its signature no longer fits the result.
        ConfigError: the language is unknown.
    """
    try:
        from weasyprint import CSS, HTML
    except (ImportError, OSError) as error:  # OSError: Pango, a library of the system, is missing
        raise DependencyError(
            f"A PDF needs WeasyPrint, which is not to be had here ({error}). Install the extra: "
            "pip install 'koilo[export]', and Pango (Debian: libpango-1.0-0 libpangoft2-1.0-0). "
            "report.html needs neither."
        ) from error
    plainer = files("koilo.report").joinpath("templates", "pdf.css").read_text(encoding="utf-8")
    page = HTML(string=report_html(folder, language))
    made: bytes = page.write_pdf(stylesheets=[CSS(string=plainer)])
    return made
