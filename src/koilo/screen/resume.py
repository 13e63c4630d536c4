"""What an earlier run left in the results folder, and which slides must be read again.

A slide is known by its size, times and a hash of its head, tail and index; with the bundle's hash,
the settings, what the manifest says of it and koilo's version this makes the key that its result
carries. A result with the same key, read to the end and with all its files, is kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from koilo import __version__
from koilo.config import fingerprint
from koilo.errors import OutputError, SlideError
from koilo.files import remove_file, write_text
from koilo.manifest import SlideEntry
from koilo.progress import log
from koilo.results import (
    CELLS,
    DRAWN,
    GEOJSON,
    REPORT,
    RESULT,
    read_slide_result,
    write_slide_result,
)
from koilo.signatures import is_signed
from koilo.types import SlideResult

_READING = ".koilo-reading"


def identify(entry: SlideEntry) -> str | None:
    """What the slide's file is known by; None where it cannot be read at all."""
    from koilo.slides.identity import identity

    try:
        return identity(entry.path)
    except SlideError:
        return None


def slide_key(config: Any, entry: SlideEntry, identity: str | None, bundle_sha256: str) -> str:
    """The key of one slide's result: a change of anything that may touch it gives another.

    Args:
        config: the verb's dataclass.
        entry: the slide's line of the manifest; its id, path, label and split touch no result.
        identity: of the slide's file, from `identify`; one that cannot be read is never done.
        bundle_sha256: the bundle's identity.
    """
    facts = asdict(entry)
    for name in ("slide_id", "path", "label", "split", "twin_of"):
        del facts[name]
    more = (identity or "unreadable", bundle_sha256, __version__, json.dumps(facts))
    return fingerprint(config, *more)


class Ledger:
    """The results in one folder: what earlier runs left, and what this run adds."""

    def __init__(self, out: Path) -> None:
        """Read what stands in ``out``, and sweep away what a killed run left half-written."""
        self.out = out
        self.results: dict[str, SlideResult] = {}
        for part in [*out.glob(".*.part"), *out.glob("*/.*.part")]:
            remove_file(part)
        for path in sorted(out.glob(f"*/{RESULT}")):
            try:
                result = read_slide_result(path.parent, with_cells=False)
            except OutputError as error:
                log.debug("%s", error)  # read again if it is named; left alone if it is not
                continue
            self.results[path.parent.name] = result

    def is_done(self, slide_id: str, key: str) -> bool:
        """True where the slide was read to the end under the same key and its files stand."""
        result = self.results.get(slide_id)
        if result is None or result.status != "done" or result.fingerprint != key:
            return False
        names = (CELLS, GEOJSON, REPORT, DRAWN)
        return all((self.out / slide_id / name).is_file() for name in names)

    def in_order(self) -> list[SlideResult]:
        """Every slide's result, ordered by slide_id."""
        return [self.results[slide_id] for slide_id in sorted(self.results)]

    def add(self, result: SlideResult) -> None:
        """Take in the result of a slide just read."""
        self.results[result.slide_id] = result

    def keep(self, entry: SlideEntry) -> None:
        """Keep an earlier result; where the slide was moved since, write down where it is now.

        A signed result names the place where the slide was when it was signed.
        """
        from koilo.report.page import moved_report

        result, path = self.results[entry.slide_id], str(entry.path)
        folder = self.out / entry.slide_id
        if result.path == path or is_signed(folder):
            return
        moved = replace(read_slide_result(folder), path=path)
        write_text(folder / REPORT, moved_report(folder, moved))
        write_slide_result(folder, moved)
        self.results[entry.slide_id] = replace(result, path=path)

    def begin(self, slide_id: str) -> None:
        """Note which slide is being read, in case the process dies in it."""
        write_text(self.out / _READING, slide_id)

    def end(self) -> None:
        """The process outlived the slide."""
        remove_file(self.out / _READING)

    def died_in(self) -> str | None:
        """The slide in whose middle the last run was killed or crashed, if any.

        It is read last, so that a file which crashes a decoder cannot hold back the others.
        """
        try:
            return (self.out / _READING).read_text(encoding="utf-8")
        except OSError:
            return None
