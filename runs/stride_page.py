"""What scripts share that make a page of the comparison: arguments, study, facts, place, end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from koilo.datasets.crop_store import open_crop_store
from koilo.errors import KoiloError
from koilo.files import write_json
from koilo.progress import start_logging
from koilo.train.record import git_commit
from stride import Study, cpu_plan, tuned_rates

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
SMOKE = "A smoke run: it shows that this runs, and claims nothing."
RANDOM_AUC = {"a score drawn at random: AUC": 0.5}
RANDOM_SCORE = RANDOM_AUC | {"a score drawn at random: spec@sens95": 0.05}
"""The trivial control of every table that holds these measures."""


def page_parser(doc: str | None) -> argparse.ArgumentParser:
    """The arguments of a script that reads, or trains, the models of one seed."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("cohort", type=Path, metavar="COHORT")
    parser.add_argument("out", type=Path, metavar="OUT", help="of runs/stride.sh")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="OUT is a smoke run; claims nothing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page", type=Path, help="default: docs/results/<name>.json")
    return parser


def open_study(options: argparse.Namespace) -> Study:
    """The study that the arguments of `page_parser` name; sets threads, starts logging.

    Raises:
        ManifestError: COHORT is no whole crop store.
        ConfigError: OUT's tuned.json is damaged.
    """
    start_logging()
    torch.set_num_threads(options.threads)
    plan = cpu_plan(smoke=options.smoke, threads=options.threads)
    store = open_crop_store(options.cohort)
    return Study(store, plan, options.out, options.seed, tuned_rates(options.out))


def write_page(
    options: argparse.Namespace,
    call: str,
    name: str,
    title: str,
    data: str,
    seconds: float,
    notes: Sequence[str],
    **parts: Any,
) -> None:
    """Write the result file of one seed; ``call`` is the script and its own words.

    ``parts`` are its tables, controls and pictures.

    Raises:
        OutputError: it cannot be written.
    """
    page = {
        "name": name,
        "title": title,
        "command": f"python runs/{call} COHORT OUT --seed {options.seed}"
        + " --smoke" * options.smoke,
        "commit": git_commit(),
        "data": data,
        "seed": options.seed,
        "seconds": round(seconds),
        "notes": [*smoke_notes(options.smoke), *notes],
        **parts,
    }
    write_json(page_path(options.page, name, options.out, smoke=options.smoke), page)


def page_path(named: Path | None, name: str, out: Path, *, smoke: bool) -> Path:
    """Where a page goes: as named, else to docs/results; a smoke run's stays in OUT."""
    return named or (out if smoke else RESULTS) / f"{name}.json"


def smoke_notes(smoke: bool) -> list[str]:
    """What a page says first where it claims nothing."""
    return [SMOKE] if smoke else []


def run_script(main: Callable[[], None]) -> int:
    """Call ``main``; what it refuses becomes one line and status 2."""
    try:
        main()
    except KoiloError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
