"""The page of results says what a reader will look for and not find."""

from __future__ import annotations

import sys

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "runs"))

import results


def test_expected_results_without_a_file_are_listed_as_not_run() -> None:
    told = {"stride_heads", "detector_sizes"}
    (title, table) = results.not_run(told)
    assert title == "## Not run\n"
    assert "runs/stride_sweep.py" in table
    assert "runs/stride_heads.py" not in table
    assert results.not_run(results.EXPECTED) == []
    for command, _ in results.EXPECTED.values():
        assert (ROOT / command.split()[0]).is_file()


def test_an_estimate_and_its_bounds_are_printed_to_the_same_digit() -> None:
    interval = {"estimate": 11.025, "low": 7.352, "high": 14.525}
    assert results._number(interval) == "11.0 (7.4 – 14.5)"
    assert results._number(0.0751) == "0.075"
    assert results._number(1234.5) == "1,234"


def test_the_contents_name_every_section_by_its_anchor() -> None:
    parts = [
        "## Cells of CRIC, each (one seed)\n\ntext\n\n## not a part",
        *results.not_run({*results.EXPECTED} - {"stride_sweep"}),
    ]
    lines = results.contents(parts).splitlines()
    assert lines == ["- [Cells of CRIC, each (one seed)](#cells-of-cric-each-one-seed)",
                     "- [Not run](#not-run)"]  # fmt: skip
