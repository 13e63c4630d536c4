"""Drift between two samples and between two results folders."""

from __future__ import annotations

import csv
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, fisher_exact, ks_2samp

from koilo.cli import main
from koilo.errors import BundleError, ManifestError
from koilo.evaluate.drift import (
    compare_classes,
    compare_numbers,
    correct_for_number,
    population_stability,
)
from koilo.evaluate.drift_report import DriftConfig, drift
from tests.evaluate.results_folder import failed, result, write_results

RANDOM = np.random.default_rng(8)
samples = st.lists(st.integers(0, 9), min_size=2, max_size=40)


@given(samples, samples)
def test_numbers_are_compared_by_ks_and_by_counting_pairs(a, b):
    found = compare_numbers("x", a, b)
    assert found.statistic == pytest.approx(ks_2samp(a, b, method="asymp").statistic)
    assert 0 < found.p <= 1
    wins = sum((y > x) - (y < x) for x in a for y in b)
    assert found.effect == pytest.approx(wins / len(a) / len(b))
    back = compare_numbers("x", b, a)
    assert back.effect == pytest.approx(-found.effect)


@given(st.permutations(range(8)), st.integers(2, 6))
def test_p_of_numbers_is_the_share_of_all_splits_that_lie_as_far_apart(order, n_a):
    def apart(chosen):
        rest = [v for v in order if v not in chosen]
        return max(abs(sum(v <= x for v in chosen) / n_a - sum(v <= x for v in rest) / (8 - n_a))
                   for x in order)  # fmt: skip

    found = compare_numbers("x", order[:n_a], order[n_a:])
    splits = [apart(chosen) for chosen in combinations(order, n_a)]
    assert found.p == pytest.approx(np.mean([d >= found.statistic - 1e-9 for d in splits]))


def test_three_slides_against_three_prove_nothing_however_far_apart():
    found = correct_for_number([
        compare_numbers("blur", [1, 2, 3], [7, 8, 9]),
        compare_classes("state", ["done"] * 3, ["failed"] * 3),
    ])  # fmt: skip
    assert [drift.p for drift in found] == pytest.approx([0.1, 0.1], abs=0.015)
    assert not any(drift.differs for drift in found)


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=40),
       st.lists(st.sampled_from("abc"), min_size=2, max_size=40))  # fmt: skip
def test_classes_are_compared_by_chi_squared(a, b):
    found = compare_classes("x", a, b)
    names = sorted({*a, *b})
    if len(names) == 1:
        assert (found.p, found.effect) == (1, 0)
        return
    table = [[side.count(name) for name in names] for side in (a, b)]
    theirs = chi2_contingency(table, correction=False)
    assert found.statistic == pytest.approx(theirs.statistic)
    if theirs.expected_freq.min() >= 5:
        assert found.p == pytest.approx(theirs.pvalue)
    elif len(names) == 2:
        assert found.p >= fisher_exact(table).pvalue - 0.02


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2).filter(
    lambda rows: sum(a for a, _ in rows) and sum(b for _, b in rows)))  # fmt: skip
def test_psi_is_symmetric_and_never_negative(rows):
    a, b = zip(*rows, strict=True)
    psi = population_stability(a, b)
    assert psi >= -1e-12
    assert population_stability(b, a) == pytest.approx(psi)
    assert population_stability(a, a) == pytest.approx(0)
    # Many pairs at once are each pair alone, also where their empty bins differ.
    np.testing.assert_allclose(
        population_stability([a, a[::-1]], [b, a[::-1]]), [psi, 0], atol=1e-12
    )


def test_psi_of_many_slides_is_its_formula():
    a, b = np.array([600, 400]) * 1000, np.array([500, 500]) * 1000
    expected = (0.5 - 0.6) * np.log(0.5 / 0.6) + (0.5 - 0.4) * np.log(0.5 / 0.4)
    assert population_stability(a, b) == pytest.approx(expected, rel=1e-3)


@given(samples, samples)
def test_numbers_are_binned_by_quantiles_of_a(a, b):
    bins = min(max(len(a) // 5, 2), 10)
    inner = np.unique(np.quantile(a, np.linspace(0, 1, bins + 1)[1:-1]))
    edges = [-1, *inner, 10]
    counts = [np.histogram(side, edges)[0] for side in (a, b)]
    assert compare_numbers("x", a, b).psi == pytest.approx(population_stability(*counts))


@pytest.mark.parametrize(("n_a", "n_b"), [(20, 20), (80, 80), (400, 20)], ids=lambda n: f"{n}")
def test_psi_by_chance_is_the_mean_psi_of_samples_that_do_not_differ(n_a, n_b):
    random = np.random.default_rng(3)
    a, b = random.normal(size=(3000, n_a)), random.normal(size=(3000, n_b))
    found = [compare_numbers("x", *pair).psi_by_chance for pair in zip(a[:10], b[:10], strict=True)]
    bins = min(n_a // 5, 10)
    edges = np.quantile(a, np.linspace(0, 1, bins + 1)[1:-1], axis=1)
    homes = [(side >= edges[..., None]).sum(axis=0) for side in (a, b)]
    counts = [np.stack([(h == i).sum(axis=1) for i in range(bins)], axis=1) for h in homes]
    assert np.mean(found) == pytest.approx(population_stability(*counts).mean(), rel=0.05)


@pytest.mark.parametrize("n", [20, 80])
def test_psi_of_classes_by_chance_is_the_mean_psi_of_mixes_that_do_not_differ(n):
    random = np.random.default_rng(4)
    a, b = random.multinomial(n, [0.5, 0.3, 0.15, 0.05], (2, 3000))
    found = [
        compare_classes("x", *(np.repeat(list("abcd"), side[i]) for side in (a, b))).psi_by_chance
        for i in range(20)  # which rare classes were drawn moves it
    ]
    assert np.mean(found) == pytest.approx(population_stability(a, b).mean(), rel=0.05)


def test_equal_samples_do_not_differ_and_shifted_ones_do():
    base = RANDOM.normal(size=80)
    same, moved = correct_for_number([
        compare_numbers("blur", base, RANDOM.normal(size=80)),
        compare_numbers("score", base, RANDOM.normal(size=80) + 1.2),
    ])  # fmt: skip
    assert not same.differs
    assert "no difference beyond chance" in same.line
    assert moved.differs
    assert "a large difference, higher in B" in moved.line
    assert moved.psi > 0.25 > moved.psi_by_chance


def test_a_change_of_spread_alone_is_seen():
    [found] = correct_for_number([
        compare_numbers("cells", np.full(100, 40.0), np.linspace(20, 60, 100))
    ])  # fmt: skip
    assert abs(found.effect) < 0.147
    assert found.differs
    assert "spread otherwise in B" in found.line


def test_p_is_corrected_by_holm_and_what_cannot_be_compared_does_not_count():
    found = [compare_numbers(name, np.arange(9), np.arange(9) + step)
             for name, step in (("a", 9), ("b", 5), ("c", 0))]  # fmt: skip
    corrected = correct_for_number([*found, compare_numbers("d", [], [1, 2, 3])])
    p = [drift.p for drift in found]
    assert [d.p_corrected for d in corrected[:3]] == pytest.approx(
        [3 * p[0], max(3 * p[0], 2 * p[1]), min(1, max(2 * p[1], p[2]))]
    )
    assert np.isnan(corrected[3].p_corrected)
    assert "cannot be compared (0 and 3 values)" in corrected[3].line


def week(folder: Path, *, shift: float = 0.0, blurred: float = 0.1, n: int = 40) -> Path:
    random = np.random.default_rng(int(1000 * shift + 100 * blurred))
    made = [
        result(f"s{i}", float(np.clip(random.beta(2, 5) + shift, 0, 1)),
               blurred=float(np.clip(random.normal(blurred, 0.03), 0, 1)),
               n_cells=20 + i)
        for i in range(n)
    ]  # fmt: skip
    return write_results(folder, [*made, failed("bad"), result("empty", None)])


def test_two_weeks_are_told_apart_without_labels(tmp_path: Path, capsys) -> None:
    a, b = week(tmp_path / "a"), week(tmp_path / "b", shift=0.25, blurred=0.3)
    out = tmp_path / "out"
    assert main(["drift", str(a), str(b), "--out", str(out)]) == 0
    found = {
        row["measure"]: row for row in json.loads((out / "drift.json").read_text())["measures"]
    }
    assert found["p_positive"]["differs"]
    assert found["share out of focus"]["differs"]
    assert found["class suggested"]["differs"]
    assert not found["cells kept a slide"]["differs"]
    assert not found["slides that failed"]["differs"]
    assert found["p_positive"]["n_a"] == 40
    page = (out / "drift.md").read_text()
    assert page.index("Differs") < page.index("share out of focus: a") < page.index("No difference")
    with open(out / "drift.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(found)
    assert (out / "drift.png").read_bytes().startswith(b"\x89PNG")
    assert "share out of focus: a" in capsys.readouterr().err


def test_a_folder_against_itself_shows_nothing(tmp_path: Path) -> None:
    folder = week(tmp_path / "a", n=12)
    drift(DriftConfig(folder, folder, tmp_path / "out", no_figures=True))
    page = (tmp_path / "out" / "drift.md").read_text()
    assert "## Differs\n\n- nothing" in page
    assert "Only 14 slides on one side" in page


def test_two_models_or_no_results_are_refused(tmp_path: Path) -> None:
    a = week(tmp_path / "a", n=3)
    other = write_results(tmp_path / "b", [result("s", 0.3, sha256="e" * 64)])
    with pytest.raises(BundleError, match="eeeeeeeeeeee"):
        drift(DriftConfig(a, other, tmp_path / "out"))
    empty = write_results(tmp_path / "c", [failed("s")])
    with pytest.raises(ManifestError, match="no slide that was read"):
        drift(DriftConfig(a, empty, tmp_path / "out"))
