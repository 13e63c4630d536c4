"""The verb screen: read many slides into one results folder, whatever happens to any of them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from koilo import __version__
from koilo.bundle import load_bundle
from koilo.config import to_dict
from koilo.errors import BundleError, ConfigError, ManifestError, OutputError
from koilo.files import ensure_folder, folder_lock
from koilo.manifest import ALLOWED, Found, SlideEntry, find_slides
from koilo.progress import clock, log, log_to_file, progress
from koilo.results import write_slides_csv
from koilo.screen.arrival import Arrivals
from koilo.screen.outcome import describe, failed, one_line, write_reading
from koilo.screen.resume import Ledger, identify, slide_key
from koilo.screen.summary import SUMMARY, RunFacts, read_standing, write_summary
from koilo.signatures import is_signed
from koilo.types import SlideResult

if TYPE_CHECKING:
    from koilo.pipeline import Models

LOG = "run.log"

_MPP_MIN, _MPP_MAX = 0.05, 4.0


@dataclass(frozen=True)
class ScreenConfig:
    """What `koilo screen` reads, with which model, and where it writes."""

    paths: tuple[Path, ...] = field(metadata={"positional": "many", "result": False})
    """slides, folders searched downwards for slides, or a manifest (.csv)"""
    out: Path = field(metadata={"result": False})
    """the results folder; a run that was stopped goes on where it left off"""
    model: str = field(default="cytology", metadata={"result": False})  # its hash is in the key
    """a built-in bundle's name, or a bundle's folder"""
    mpp: float | None = None
    """µm per pixel of level 0, used where the manifest gives none; the file's own otherwise"""
    adequacy_limits: dict[str, int] = field(default_factory=dict)
    """a laboratory's own least number of squamous cells by preparation: '{"conventional": 6000}'"""
    device: Literal["auto", "cpu", "cuda"] = field(default="auto", metadata={"result": False})
    """where to compute"""
    workers: int = field(default=0, metadata={"result": False})
    """reader threads; 0 chooses by the machine"""
    overwrite: bool = field(default=False, metadata={"result": False})
    """read every slide again, also those already done; a signed slide never is"""


def screen(config: ScreenConfig) -> int:
    """Screen slides, folders or a manifest of cytology slides into a results folder.

    Returns:
        exit status: 0, or 1 where a slide failed, or is signed and would have been read again.

    Raises:
        ConfigError: a setting or laboratory.yaml is wrong, or the device is not there.
        ManifestError: a path does not exist, a manifest is malformed, or there is no slide.
        BundleError: the bundle is missing, altered or does not fit together.
        OutputError: the results folder cannot be written, is full or in use.
    """
    _check(config)
    ensure_folder(config.out)
    with folder_lock(config.out), log_to_file(config.out / LOG):
        _check_laboratory(config.out)
        found = find_slides(config.paths, exclude=config.out)
        if not found.slides:
            raise ManifestError(
                f"There is no slide in {', '.join(map(str, config.paths))}: {len(found.ignored)} "
                "other files were passed over. Name slides, a folder of slides or a manifest."
            )
        return _Run(config, found).run()


class _Run:
    """One run in progress."""

    def __init__(self, config: ScreenConfig, found: Found) -> None:
        from koilo.pipeline import load_models
        from koilo.runtime import choose_device

        self.config, self.found = config, found
        self.started_at = _now()
        self.started_s = time.monotonic()
        self.arrivals = Arrivals(entry.path for entry in found.slides)
        self.models: Models = load_models(load_bundle(config.model), choose_device(config.device))
        self.ledger = Ledger(config.out)
        self.growing: list[tuple[str, str]] = []
        self.signed: list[tuple[str, str]] = []
        self.read: list[SlideResult] = []
        self.n_kept = 0

    def run(self) -> int:
        """Read what has to be read; leave tables and summary behind even when interrupted."""
        entries = self._in_turn()
        out = self.config.out
        log.info("%d slides, model %s, into %s", len(entries), self.models.bundle.name, out)
        try:
            for number, entry in enumerate(entries, start=1):
                self._one(entry, number, len(entries))
        except KeyboardInterrupt:
            self.ledger.end()
            self.ledger = Ledger(out)  # a result may have been written and not been taken in yet
            self._write_tables()
            raise
        self._compare_cases()
        self._write_tables()
        n_failed = sum(result.status == "failed" for result in self.read)
        log.info(
            "%d slides read (%d failed), %d done before, %d left for the next run, in %s: %s",
            len(self.read), n_failed, self.n_kept, len(self.growing),
            clock(time.monotonic() - self.started_s), out / SUMMARY,
        )  # fmt: skip
        return 1 if n_failed or self.signed else 0

    def _in_turn(self) -> list[SlideEntry]:
        """The slides in their order, but the one that the last run died in comes last."""
        suspect = self.ledger.died_in()
        if suspect is not None:
            log.info("The last run ended inside %s: that slide is read last.", suspect)
        return sorted(self.found.slides, key=lambda entry: entry.slide_id == suspect)

    def _one(self, entry: SlideEntry, number: int, total: int) -> None:
        """Keep, leave or read one slide."""
        if self.arrivals.is_growing(entry.path):
            self._leave(entry, "is still growing")
            return
        known = identify(entry)
        key = slide_key(self.config, entry, known, self.models.bundle.sha256)
        if not self.config.overwrite and self.ledger.is_done(entry.slide_id, key):
            self.n_kept += 1
            self.ledger.keep(entry)
            log.debug("%d of %d %s: done before", number, total, entry.slide_id)
            return
        if is_signed(self.config.out / entry.slide_id):
            self._refuse(entry)
            return
        self.ledger.begin(entry.slide_id)
        result = self._read(entry, known, key, f"[{number} of {total}] {entry.slide_id}")
        self.ledger.end()
        if result is None:
            self._leave(entry, "changed while it was being read")
            return
        self.read.append(result)
        self.ledger.add(result)
        write_slides_csv(self.config.out, self.ledger.in_order())
        log.info("%d of %d %s: %s%s", number, total, entry.slide_id, describe(result),
                 self._eta(total - number))  # fmt: skip

    def _read(
        self, entry: SlideEntry, known: str | None, key: str, title: str
    ) -> SlideResult | None:
        """Read one slide and write its files; a failure is a result, a changed file is None."""
        from koilo.pipeline import ReadSettings, read_one

        folder = self.config.out / entry.slide_id
        settings = ReadSettings(
            mpp=self.config.mpp, threads=self.config.workers, limits=self.config.adequacy_limits
        )
        started_at = _now()
        try:
            reading = read_one(
                entry, self.models, settings, lambda n: progress(title, n, unit="tiles")
            )
        except (OutputError, BundleError, ConfigError):
            raise
        except Exception as error:  # whatever a file can provoke is written down; the run goes on
            log.debug("%s failed", entry.slide_id, exc_info=True)
            return failed(folder, entry, key, one_line(error))
        if known != identify(entry):
            return None
        provenance = self._provenance() | {"slide_identity": known, "started_at": started_at}
        result = replace(reading.result, fingerprint=key, provenance=provenance)
        return write_reading(folder, replace(reading, result=result), self.models)

    def _leave(self, entry: SlideEntry, why: str) -> None:
        log.info("%s %s: left for the next run", entry.path, why)
        self.growing.append((entry.slide_id, str(entry.path)))

    def _refuse(self, entry: SlideEntry) -> None:
        """Leave a signed slide as it is: what was signed is never replaced."""
        why = "signed by a reader: not read again. Screen into another folder to read it anew"
        log.error("%s is %s.", entry.slide_id, why)
        self.signed.append((entry.slide_id, why))

    def _compare_cases(self) -> None:
        """Write the reports anew whose case has an earlier slide that may have come after them."""
        from koilo.report.earlier import case_of, compare
        from koilo.report.page import rewrite_report

        cases: dict[str, list[SlideResult]] = {case_of(result): [] for result in self.read}
        cases.pop("", None)
        for result in self.ledger.in_order():
            cases.get(case_of(result), []).append(result)
        for result, others in [(one, case) for case in cases.values() for one in case]:
            earlier = compare(self.config.out, result, others)
            if earlier:
                try:
                    rewrite_report(self.config.out / result.slide_id, earlier)
                except OutputError as error:  # a changed signed slide, an older koilo's result
                    log.error("%s: its report was not written anew: %s", result.slide_id, error)

    def _eta(self, n_left: int) -> str:
        if not n_left or not self.read:
            return ""
        mean_s = (time.monotonic() - self.started_s) / len(self.read)
        return f" ({n_left} to go, ETA {clock(mean_s * n_left)})"

    def _provenance(self) -> dict[str, Any]:
        settings = to_dict(self.config)
        return {
            "koilo_version": __version__,
            "bundle": self.models.bundle.name,
            "bundle_sha256": self.models.bundle.sha256,
            "engine": "torch",
            "device": str(self.models.device),
            "settings": {
                name: settings[name] for name in ("model", "mpp", "adequacy_limits", "workers")
            },
        }

    def _write_tables(self) -> None:
        results = self.ledger.in_order()
        facts = {
            "started": self.started_at,
            "seconds": round(time.monotonic() - self.started_s, 1),
            "slides read": len(self.read),
            "done before": self.n_kept,
            "bundle": f"{self.models.bundle.name} ({self.models.bundle.sha256[:12]})",
            "device": str(self.models.device),
            "koilo": __version__,
        }
        signatures = read_standing(self.config.out, results)
        ignored = [(str(path), reason) for path, reason in self.found.ignored]
        read = frozenset(result.slide_id for result in self.read)
        write_slides_csv(self.config.out, results)
        write_summary(
            self.config.out,
            results,
            RunFacts(self.growing, ignored, read, facts, signatures, self.signed),
        )


def _check(config: ScreenConfig) -> None:
    """Refuse settings out of range, all of them in one line."""
    wrong = []
    if config.mpp is not None and not _MPP_MIN <= config.mpp <= _MPP_MAX:
        wrong.append(f"--mpp {config.mpp:g} is outside {_MPP_MIN}-{_MPP_MAX:g} µm per pixel")
    if config.workers < 0:
        wrong.append(f"--workers {config.workers} is below 0 (0 chooses by the machine)")
    unknown = sorted(set(config.adequacy_limits) - set(ALLOWED["preparation"]))
    if unknown or any(limit < 1 for limit in config.adequacy_limits.values()):
        wrong.append(
            f"--adequacy-limits {config.adequacy_limits} (allowed: 1 cell or more for "
            f"{', '.join(ALLOWED['preparation'])})"
        )
    if wrong:
        raise ConfigError(f"{' and '.join(wrong)}. Mend this and run again.")


def _check_laboratory(out: Path) -> None:
    """Refuse a malformed header before the first slide, not after the first reading."""
    from koilo.report.laboratory import read_laboratory

    read_laboratory(out)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
