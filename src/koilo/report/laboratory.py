"""A laboratory's header, and what its reports are for: ``laboratory.yaml`` in a results folder."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from koilo.config import nearest
from koilo.errors import ConfigError
from koilo.report.language import LANGUAGES

LABORATORY = "laboratory.yaml"
USES = ("research", "laboratory")

_LONGEST = 300


@dataclass(frozen=True)
class Laboratory:
    """What stands at a report's head; all of it is the laboratory's own text.

    ``accession_line`` may hold ``{accession}``, ``{case_id}`` and ``{slide_id}``. With
    ``intended_use`` ``research``, the default, every page is watermarked and every export is
    preliminary; ``laboratory`` says that the laboratory answers for the use it makes of koilo.
    ``language`` is that of report.html, and of exports that ask for no other.
    """

    name: str = ""
    address: str = ""
    accession_line: str = ""
    intended_use: str = "research"
    language: str = "en"

    def accession_text(self, slide_id: str, case: dict[str, str]) -> str:
        """The accession line of one slide; a dash stands for what was not given."""
        text = self.accession_line
        for name in ("accession", "case_id"):
            text = text.replace(f"{{{name}}}", case.get(name) or "–")
        return text.replace("{slide_id}", slide_id)


def read_laboratory(out: Path) -> Laboratory:
    """The header of the results folder ``out``; an empty one where it has no laboratory.yaml.

    Raises:
        ConfigError: the file is no YAML, or names something else than a header.
    """
    path = out / LABORATORY
    if not path.exists():
        return Laboratory()
    names = [field.name for field in fields(Laboratory)]
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        given = {str(name): str(text) for name, text in value.items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise ConfigError(
            f"{path} cannot be read as YAML ({error}). It holds {', '.join(names)}. Mend the file."
        ) from error
    for name, text in given.items():
        if name not in names:
            raise ConfigError(f"{path} has no '{name}'. {nearest(name, names)} Mend the file.")
        if len(text) > _LONGEST:
            raise ConfigError(
                f"{path}: {name} is longer than {_LONGEST} characters. Shorten the text."
            )
    made = Laboratory(**given)
    for name, allowed in (("intended_use", USES), ("language", LANGUAGES)):
        value = getattr(made, name)
        if value not in allowed:
            raise ConfigError(
                f"{path}: {name} is '{value}'. Allowed: {', '.join(allowed)}. Choose one of these."
            )
    return made
