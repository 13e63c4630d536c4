"""Count the key points of STRIDE's trial in its Extended Data Table 1; leave a result file.

Run: ``python runs/trial_table.py``, then ``make results``.
"""

from __future__ import annotations

import time
from pathlib import Path

from koilo.files import write_json
from koilo.study.compared import compare
from koilo.study.measures import measure_study
from koilo.study.record import Reading, read_record
from koilo.study.shares import Settings
from koilo.taxonomy import NEGATIVE
from koilo.train.record import git_commit

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "runs" / "trial_table" / "hospital_01.csv"
OUT = ROOT / "docs" / "results" / "trial_table.json"
WASHOUT_DAYS = 28

NOTES = [
    "Typed in from a scan; runs/trial_table/README.md says what could not be read. The table holds "
    "positive and arbitrated slides of one hospital only: no specificity, and no kappa of the "
    "trial (0.72 in the paper, over all slides of three hospitals), can be taken from it. The "
    "paper does not say which review saw the AI's result, so stages are compared, not help.",
    "The paper's second point speaks of slides that one person suspected: of the eight that the "
    "arbitration made NILM, six had one panel reader against the other, and in two both had "
    "suspected a lesion. A ninth slide of that block (01318) lost its panel in the scan; its gold "
    "is taken as NILM from where it stands. Were it ASC-H, the one readable word under its panel, "
    "the first point would fail on it.",
]


def main() -> None:
    started = time.perf_counter()
    readings = read_record(RECORD)
    values = measure_study(RECORD, readings, WASHOUT_DAYS, Settings(0.05, -0.05, 1000, 0))
    write_json(
        OUT,
        {
            "name": "trial_table",
            "title": "The key points of STRIDE's trial, from its Extended Data Table 1",
            "command": "python runs/trial_table.py",
            "commit": git_commit(),
            "data": "runs/trial_table/hospital_01.csv: 71 slides of Hospital_01, facts typed in "
            "from the paper",
            "seed": 0,
            "seconds": round(time.perf_counter() - started, 1),
            "figures": _figures(values, readings),
            "tables": {"key points, the paper's words and the count": _points(values)},
            "notes": NOTES,
        },
    )
    print(OUT)


def _points(values: dict) -> dict:
    points = values["key_points"]
    graver, cleared = points["missed_above_limit"], points["arbitrated_to_negative"]
    at_limit = points["missed_at_limit"]
    rows = [
        [
            "no lesion above ASC-US is missed by both AI and readers",
            f"{len(graver['by_both'])} of {graver['n_slides']}",
            "holds" if graver["holds"] else "does not hold",
        ],
        [
            "the same, were one review of the two enough to miss it",
            f"{len(graver['by_one_review'])} of {graver['n_slides']}",
            "not in the paper",
        ],
        [
            "ASC-US missed by the AI and in both reviews",
            f"{len(at_limit['by_both'])} of {at_limit['n_slides']}",
            "not in the paper, and no contradiction: its limit lies above ASC-US",
        ],
        [
            "slides that one reader suspected become NILM by arbitration",
            f"{cleared['n_slides']}, {len(cleared['suspected_by_one_panel_reader'])} of them "
            "suspected by one panel reader",
            "holds; two were suspected by both",
        ],
    ]
    return {"columns": ["key point", "counted", "against the paper"], "rows": rows}


def _figures(values: dict, readings: tuple[Reading, ...]) -> dict:
    share = values["shares"]["sensitivity"]
    panel = values["panel"]
    compared = compare(RECORD, readings, WASHOUT_DAYS)
    return {
        "slides": values["counts"]["n_slides"],
        "of them positive by gold": values["counts"]["n_positive"],
        "slides with both reviews": len(compared.readings),
        "positives found in the first review": share["first"],
        "positives found in the second review": share["second"],
        "second less first, paired": share["difference"],
        "positives found by the AI alone": values["ai_alone"]["sensitivity"],
        "positives missed by the AI, all ASC-US": sum(
            reading.truly_positive and reading.ai_result == NEGATIVE for reading in readings
        ),
        "kappa of the panel readers, classes, on these slides": panel["kappa"],
        "slides that went to arbitration": panel["n_arbitrated"],
    }


if __name__ == "__main__":
    main()
