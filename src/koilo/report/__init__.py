"""What a person reads of a screening: one page a slide, one page over the run."""

from koilo.report.index import render_index
from koilo.report.page import report_html
from koilo.report.pictures import QualityMap

__all__ = ["QualityMap", "render_index", "report_html"]
