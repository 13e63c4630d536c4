"""Make the verdict table from the scores that runs/stride.sh left; nothing is trained here.

    python runs/stride_report.py OUT [OUT…] --cohort COHORT [--scores FILE] [--smoke]

Several OUT folders of one cohort are joined (seeds trained on several machines). A claim holds when
the 95 % interval of its difference excludes 0: slides are drawn within their class, the same draws
for both methods, the measure averaged over seeds. A run counts as converged when validation AUC
moved under half a point in the last fifth of its steps; a claim on others is "not judged", as is
one on scores whose run's log is not in OUT. ``--smoke``, for an OUT made with it, leaves everything
in OUT and claims nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koilo.datasets.crop_store import open_crop_store
from koilo.evaluate.comparison import mean_over_seeds, paired_difference
from koilo.evaluate.figures import draw_learning_curves
from koilo.evaluate.intervals import Interval
from koilo.evaluate.operating_point import specificity_at
from koilo.evaluate.scores import auc, sensitivity_specificity
from koilo.files import write_json
from koilo.train.record import git_commit
from stride import COLOUR, METHODS, judged_folder, run_folder, tuned_rates
from stride_page import RANDOM_SCORE, page_path, run_script, smoke_notes
from stride_scores import Floats, Table

SPLITS = ("test", "unseen", "unseen_twin")
MOVED = 0.005
"""Half a point of validation AUC: what a converged run moves less than in its last fifth."""
DRAWS = 1000
START = " --start nanodet_g3.safetensors"
"""Where methods begin on a composed cohort: the built-in start has seen its cells."""
SEEDS = 3
"""A claim on fewer seeds is provisional."""


@dataclass(frozen=True)
class Claim:
    """``first`` less ``second`` in a measure on a split, and the paper's own gap."""

    text: str
    first: str
    second: str
    measure: str
    split: str
    paper: str


CLAIMS = (
    Claim("SWIFT over two-stage, AUC", "swift", "two_stage", "AUC", "test", "+.05"),
    Claim("SWIFT over two-stage, specificity", "swift", "two_stage", "spec@sens95", "test", "+.22"),
    Claim(
        "SWIFT over two-stage on unseen centres",
        "swift", "two_stage", "spec@sens95", "unseen", "+.25",
    ),
    Claim(
        "SWIFT with ColorAdv over two-stage on unseen centres",
        "color_adv", "two_stage", "spec@sens95", "unseen", "+.32",
    ),
    *(
        Claim(
            f"ColorAdv over {control} on unseen centres",
            "color_adv", control, "spec@sens95", "unseen", "above 0",
        )
        for control in ("continued", "random_shift", "stain_aug")
    ),
)  # fmt: skip
MEASURES = {"AUC": auc, "spec@sens95": specificity_at}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("outs", type=Path, nargs="+", metavar="OUT")
    parser.add_argument("--cohort", type=Path, required=True)
    parser.add_argument("--scores", type=Path, help="default: stride_scores.parquet beside it")
    parser.add_argument("--out", type=Path, help="default: docs/results/stride.json")
    parser.add_argument("--smoke", action="store_true", help="OUT was made with --smoke")
    options = parser.parse_args()
    options.out = page_path(options.out, "stride", options.outs[0], smoke=options.smoke)
    table = Table(options.outs)
    table.refuse_other_slides(open_crop_store(options.cohort))
    table.write(options.scores or options.out.with_name(f"{options.out.stem}_scores.parquet"))
    converged = {
        method: all(
            _converged(folder, method, seed)
            for folder, seed in _places(options.outs, table, method)
        )
        for method in table.methods
    }
    picture = options.out.with_name(f"{options.out.stem}_curves.png")
    curves = {
        method: {
            f"seed {seed}": curve(folder, method, seed)
            for folder, seed in _places(options.outs, table, method)
        }
        for method in table.methods
    }
    draw_learning_curves(picture, curves, measure="validation AUC")
    caption = "Validation AUC at each fifth of the training by which a method is judged"
    write_json(options.out, page(table, converged, options) | {"pictures": {picture.name: caption}})


def page(table: Table, converged: dict[str, bool], options: argparse.Namespace) -> dict[str, Any]:
    facts = open_crop_store(options.cohort).facts
    seeds, smoke = table.all_seeds, options.smoke
    tuned = any(tuned_rates(folder) for folder in options.outs)
    missing = [name for name in METHODS if name not in table.methods]
    composed = facts.get("synthetic") == "composed"
    cohort, drawn = ("composed", "composed") if composed else ("multi-centre", "phantom")
    splits = [split for split in SPLITS if split in table.splits]
    counts = " and ".join(
        f"{len(table.labels(split))} {split}" for split in splits if split != "unseen_twin"
    )
    return {
        "name": options.out.stem,
        "title": f"STRIDE's claims on the {cohort} cohort (synthetic)",
        "command": f"{facts.get('made_by', 'runs/cohort.sh')} COHORT; "
        f"runs/stride.sh COHORT OUT{START * composed}{' --tune' * tuned}{' --smoke' * smoke}; "
        f"python runs/stride_report.py OUT --cohort COHORT{' --smoke' * smoke}",
        "commit": git_commit(),
        "data": f"{drawn} cohort of {counts} slides, seed {facts.get('seed')}",
        "seed": ", ".join(map(str, seeds)),
        "seconds": round(sum(_seconds(folder) for folder in options.outs)),
        "figures": {
            f"{claim.text} (paper {claim.paper})": _difference(table, claim)
            for claim in CLAIMS
            if _ran(table, claim)
        },
        "controls": RANDOM_SCORE,
        "tables": {
            "Verdicts": verdicts(table, converged, smoke=smoke),
            "Share of the gap to the colour twins that is recovered": recovered(table),
            **{f"Methods, split {split}": methods(table, split, converged) for split in splits},
        },
        "notes": [
            *smoke_notes(smoke),
            "Synthetic slides, drawn to be hard for the reasons for which real ones are: no "
            "clinical claim rests on them. spec@sens95 takes its threshold from the evaluated set "
            "(the paper's measure); locked is the threshold of validation, unchanged.",
            "Intervals are over slides, for these trainings: what another seed would give is seen "
            "in the columns of each seed alone.",
            "A method that did not converge, or whose log is not there, judges nothing.",
            f"Not run: {', '.join(missing) or 'nothing'}. {_how_tuned(table, options.outs)}",
        ],
    }


def _how_tuned(table: Table, outs: list[Path]) -> str:
    """Which rate each method took, and which have the base rate because none was tried."""
    rates = [tuned_rates(folder) for folder in outs]
    chosen = {name: each[name] for each in rates for name in table.methods if name in each}
    base = [name for name in table.methods if any(name not in each for each in rates)]
    told = ", ".join(f"{name} {rate}" for name, rate in chosen.items())
    return (
        f"Of two rates, validation AUC of one seed chose: {told or 'none'}. "
        f"At the base rate, not tuned: {', '.join(base) or 'none'}."
    )


def methods(table: Table, split: str, converged: dict[str, bool]) -> dict[str, Any]:
    positive, strata = table.positive(split), np.array(table.labels(split))
    rows = []
    for method in table.methods:
        scores = table.scores(method, split)
        cells: list[Any] = [method, len(scores)]
        for measure in MEASURES.values():
            found = mean_over_seeds(positive, scores, measure, strata=strata, draws=DRAWS)
            each = ", ".join(f"{measure(positive, row):.3f}" for row in scores)
            cells += [f"{found.estimate:.3f} ({found.low:.3f} – {found.high:.3f})", each]
        margins = table.margins(method, split)
        locked = [sensitivity_specificity(positive, row, 0.0) for row in margins]
        cells += [round(float(v), 3) for v in np.mean(locked, axis=0)]
        rows.append([*cells, "yes" if converged[method] else "no"])
    columns = [
        "method",
        "seeds",
        *(name for measure in MEASURES for name in (measure, f"{measure} of each seed")),
        "locked sensitivity",
        "locked specificity",
        "converged",
    ]
    return {"columns": columns, "rows": rows}


def verdicts(table: Table, converged: dict[str, bool], *, smoke: bool) -> dict[str, Any]:
    rows = []
    for claim in CLAIMS:
        if not _ran(table, claim):
            rows.append([claim.text, claim.paper, "not run", "not judged"])
            continue
        found = _difference(table, claim)
        shown = f"{found['estimate']:+.3f} ({found['low']:+.3f} – {found['high']:+.3f})"
        judged = converged[claim.first] and converged[claim.second] and not smoke
        holds = "holds" if found["low"] > 0 else "does not hold"
        seeds = len(table.common_seeds(claim.first, claim.second))
        if seeds < SEEDS:
            holds += f" on {seeds} of {SEEDS} seeds: provisional"
        rows.append([claim.text, claim.paper, shown, holds if judged else "not judged"])
    return {"columns": ["claim", "paper", "difference", "verdict"], "rows": rows}


def recovered(table: Table) -> dict[str, Any]:
    """What a colour method wins on unseen slides, as a share of what their colours cost SWIFT.

    The twin of an unseen slide shows the same cells in a training centre's colours: SWIFT's gap
    between the two is all that colour can explain.
    """
    if "swift" not in table.methods or "unseen_twin" not in table.splits:
        return {"columns": ["method"], "rows": []}
    positive = table.positive("unseen")

    def over_swift(scores: Floats, swift: Floats, measure: str) -> Interval:
        strata = np.array(table.labels("unseen"))
        return paired_difference(
            positive, scores, swift, MEASURES[measure], strata=strata, draws=DRAWS
        )

    # Twins stand in the order of their slides: the same cells, so the same draws.
    twins, swift = table.scores("swift", "unseen_twin"), table.scores("swift", "unseen")
    gaps = {name: over_swift(twins, swift, name) for name in MEASURES}
    rows = []
    for method in (name for name in COLOUR if table.common_seeds(name, "swift")):
        row: list[Any] = [method]
        for measure, gap in gaps.items():
            gain = over_swift(*table.scores_of_both(method, "swift", "unseen"), measure)
            share = round(gain.estimate / gap.estimate, 2) if gap.estimate > 0 else "no gap"
            row += [gap.as_dict(), gain.as_dict(), share]
        rows.append(row)
    parts = ("SWIFT's gap", "gain", "recovered")
    columns = [f"{measure}: {part}" for measure in MEASURES for part in parts]
    return {"columns": ["method", *columns], "rows": rows}


def _ran(table: Table, claim: Claim) -> bool:
    """Whether both methods left scores, of a common seed and of the claim's split."""
    return bool(table.common_seeds(claim.first, claim.second)) and claim.split in table.splits


def _difference(table: Table, claim: Claim) -> dict[str, float]:
    positive = table.positive(claim.split)
    return paired_difference(
        positive,
        *table.scores_of_both(claim.first, claim.second, claim.split),
        MEASURES[claim.measure],
        strata=np.array(table.labels(claim.split)),
        draws=DRAWS,
    ).as_dict()


def _places(outs: list[Path], table: Table, method: str) -> list[tuple[Path, int]]:
    return [
        (folder, seed)
        for seed in table.seeds(method)
        for folder in outs
        if (folder / "scores" / f"{method}_{seed}.csv").exists()
    ]


def _converged(out: Path, method: str, seed: int) -> bool:
    """Whether validation AUC moved under half a point in the last fifth of the method's steps."""
    values = curve(out, method, seed)[1]
    return len(values) > 1 and abs(values[-1] - values[-2]) < MOVED


def curve(out: Path, method: str, seed: int) -> tuple[list[int], list[float]]:
    """Steps of one run and the validation AUC at each, the better of student and average.

    Both are empty where ``out`` holds no log: scores alone tell no convergence.
    """
    folder = run_folder(out, seed, method, tuned_rates(out))
    path = judged_folder(folder, method) / "log.jsonl"
    lines = map(json.loads, path.read_text().splitlines() if path.exists() else ())
    # By step: a run that was killed after its last measurement measures once more.
    told = {int(line["step"]): line["evaluate"] for line in lines if line.get("evaluate")}
    return [*told], [max(v for k, v in x.items() if k.endswith("auc")) for x in told.values()]


def _seconds(out: Path) -> float:
    return sum(
        json.loads(path.read_text())["seconds"] for path in (out / "runs").rglob("metrics.json")
    )


if __name__ == "__main__":
    sys.exit(run_script(main))
