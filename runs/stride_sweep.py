"""How far SWIFT depends on the values that the paper leaves open: one field at a time, one seed.

    python runs/stride_sweep.py COHORT OUT [--fields tau_cam,top_k] [--seed 1] [--smoke]

OUT is that of runs/stride.sh: the two-stage start and SWIFT itself, which has each field's usual
value, are taken from there, or trained. The other runs are measured once, at their end. Validation
AUC by value goes to docs/results/stride_sweep.json (``--smoke``: to OUT); test data is never read.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

from koilo.errors import ConfigError
from koilo.progress import log
from koilo.train.stages import averages_are_better, train_swift_stage
from stride import Study, refuse_other_study
from stride_page import (
    RANDOM_SCORE,
    open_study,
    page_parser,
    run_script,
    write_page,
)

SWEEPS: dict[str, tuple[float, ...]] = {
    "tau_cam": (0.3, 0.5, 0.7, 0.9),
    "tau_teacher": (0.8, 0.9, 0.95),
    "top_k": (16, 32, 48, 64),
    "teacher_decay": (0.9, 0.99, 0.997),
    "young": (10, 4, 2),
}


def main() -> None:
    parser = page_parser(__doc__)
    parser.add_argument("--fields", default=",".join(SWEEPS))
    options = parser.parse_args()
    fields = options.fields.split(",")
    if wrong := [name for name in fields if name not in SWEEPS]:
        raise ConfigError(
            f"--fields: {', '.join(map(repr, wrong))} is not swept. Allowed: {', '.join(SWEEPS)}. "
            "Correct --fields."
        )
    study = open_study(options)
    refuse_other_study(study.out, study.store, study.plan)
    rows = [row for field in fields for row in sweep(study, field, SWEEPS[field])]
    name = "stride_sweep"
    write_page(
        options,
        f"{name}.py",
        name,
        "SWIFT's open values, one at a time (synthetic cohort, validation)",
        f"validation slides of the phantom cohort, seed {study.store.facts.get('seed')}",
        sum(row.pop() for row in rows),
        controls=RANDOM_SCORE,
        tables={"Sweep": {"columns": ["field", "value", "AUC", "spec@sens95"], "rows": rows}},
        notes=[
            "One seed; the other fields at the CPU twin's values, whose run is SWIFT's own.",
        ],
    )


def sweep(study: Study, name: str, values: tuple[float, ...]) -> list[list[Any]]:
    """One row a value of one field; last in each, the seconds that its training took."""
    plan = study.plan
    rows = []
    for value in values:
        whole = int(value) if name == "top_k" else value
        settings = replace(plan.settings, **{name: whole})
        if settings == plan.settings:
            study.model("swift")
            metrics, seconds = study.metrics("swift"), 0.0  # the verdict's own run
        else:
            folder = study.out / "sweep" / str(study.seed) / f"{name}-{value:g}"
            if not (folder / "metrics.json").exists():
                loop = replace(study.loop_of("swift", plan.joint), evaluate_every=0)
                train_swift_stage(study.start(), study.store, plan.net, settings, loop, folder)
            told = json.loads((folder / "metrics.json").read_text())
            metrics, seconds = told["metrics"], float(told["seconds"])
        best = "average" if averages_are_better(metrics) else "student"
        row = [name, value, metrics[f"{best}_auc"], metrics[f"{best}_spec@sens95"]]
        log.info("%s", row)
        rows.append([*row, seconds])
    return rows


if __name__ == "__main__":
    sys.exit(run_script(main))
