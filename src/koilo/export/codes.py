"""Public identifiers of what a report says, from a table that a laboratory may replace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from koilo.errors import ConfigError

LOINC, SNOMED, UCUM = "loinc", "snomed", "ucum"
SYSTEMS = {
    LOINC: "http://loinc.org",
    SNOMED: "http://snomed.info/sct",
    UCUM: "http://unitsofmeasure.org",
}
DISPLAYS = {
    "report": "Cytology report of cervical or vaginal specimen",
    "adequacy": "Statement of specimen adequacy",
    "category": "General categories",
    "interpretation": "Microscopic observation",
    "comment": "Comment",
    "follow_up": "Recommended follow-up",
}
"""Our own words for what is reported; the code systems' descriptions are not shipped."""

CATEGORIES = {
    "negative": "Negative for intraepithelial lesion or malignancy",
    "abnormality": "Epithelial cell abnormality",
    "other": "Other: see interpretation",
}


@dataclass(frozen=True)
class Codes:
    """Identifiers by name; without ``snomed`` none of SNOMED CT's is given."""

    table: Mapping[str, Any]
    snomed: bool = True

    def loinc(self, name: str) -> str:
        """A LOINC code of the table."""
        return str(self.table[LOINC][name])

    def report(self, preparation: str | None) -> str:
        """The LOINC code of the report on this preparation."""
        by_preparation = self.table[LOINC]["report"]
        return str(by_preparation.get(preparation or "", by_preparation["other"]))

    def snomed_of(self, kind: str, name: str | None = None) -> str | None:
        """A SNOMED CT identifier; None where there is none, or none is wanted."""
        if not self.snomed:
            return None
        found = self.table[SNOMED].get(kind)
        value = found.get(name) if isinstance(found, Mapping) else found
        return str(value) if value else None


def load_codes(path: Path | None, *, snomed: bool) -> Codes:
    """Koilo's table, or with ``path`` a table whose entries come before koilo's.

    Raises:
        ConfigError: the table is none.
    """
    own = yaml.safe_load(files("koilo.export").joinpath("codes.yaml").read_text(encoding="utf-8"))
    if path is None:
        return Codes(own, snomed)
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Codes(_merged(own, given), snomed)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} is no table of codes ({' '.join(str(error).split())}). It is a YAML file with "
            "the names of koilo's own codes.yaml. Mend it."
        ) from error


def _merged(own: Any, given: Any, place: str = "") -> Any:
    """``own`` with the values of ``given``; a name that koilo does not know is refused."""
    if not isinstance(own, Mapping):
        if isinstance(given, Mapping | list):
            raise ValueError(f"{place or 'it'} is no single code")
        return given
    if not isinstance(given, Mapping):
        raise ValueError(f"{place or 'it'} is no table")
    unknown = [str(name) for name in given if name not in own]
    if unknown:
        raise ValueError(f"it has an unknown name {place}{unknown[0]}")
    return {
        name: _merged(value, given[name], f"{place}{name}: ") if name in given else value
        for name, value in own.items()
    }
