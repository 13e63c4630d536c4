r"""Draw the multi-centre cohort on which the methods are compared; ``runs/cohort.sh`` calls this.

    python runs/cohort.py DIR [--seed S] [--smoke] [--workers N]

DIR becomes a crop store: manifest.csv, cells.parquet, crops.npy, store.json; truth/ holds what is
true of its slides, cells and centres. Then what can be checked without training is printed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from cohort_facts import facts_of
from koilo.errors import KoiloError
from koilo.phantom.multicentre.config import CohortConfig, scaled, smoke
from koilo.phantom.multicentre.write import write_cohort
from koilo.progress import start_logging


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="a new folder, or one begun before"
    )
    parser.add_argument("--seed", type=int, help="default: the committed one")
    parser.add_argument("--smoke", action="store_true", help="a twentieth of the size")
    parser.add_argument("--divisor", type=int, help="another part of the size, for pilots")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    start_logging()
    config = CohortConfig()
    if options.seed is not None:
        config = replace(config, seed=options.seed)
    try:
        if options.smoke:
            config = smoke(config)
        if options.divisor is not None:
            config = scaled(config, options.divisor)
        store = write_cohort(options.folder, config, workers=options.workers)
    except KoiloError as error:
        print(error, file=sys.stderr)
        return 2
    for line in facts_of(store):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
