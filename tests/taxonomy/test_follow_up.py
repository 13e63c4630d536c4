from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from koilo.errors import ConfigError
from koilo.taxonomy import CYTOLOGY
from koilo.taxonomy.follow_up import OUTCOMES, TABLES, Facts, load_follow_up, suggest

CO_TEST = Path(load_follow_up.__code__.co_filename).parent / "follow_up" / "co-test-2019.yaml"
WOMAN = {"age": "34", "history": "unknown", "pregnant": "no"}


def ask(table: str, *classes: str, adequacy: str | None = None, **facts):
    return suggest(load_follow_up(table), classes, adequacy, Facts(**(WOMAN | facts)))


# Typed from the printed table (its 2019 column), not from the YAML.
PRINTED = [
    ("negative", "ASC-US", "unknown", "hpv-test-3y"),
    ("negative", "ASC-US", "hpv-negative", "hpv-test-3y"),
    ("negative", "LSIL", "unknown", "hpv-test-1y"),
    ("negative", "LSIL", "hpv-negative", "hpv-test-1y"),
    ("negative", "ASC-H", "hpv-positive", "colposcopy"),
    *((hpv, "AGC", "unknown", "colposcopy") for hpv in ("negative", "16", "other", "unknown")),
    ("positive", "NILM", "unknown", "hpv-test-1y"),
    ("positive", "NILM", "hpv-negative", "hpv-test-1y"),
    ("positive", "NILM", "hpv-positive", "colposcopy"),
    *((hpv, "NILM", "negative-screen", "colposcopy") for hpv in ("16", "18")),
    *((hpv, name, "unknown", "colposcopy") for hpv in ("16", "18") for name in ("ASC-US", "LSIL")),
    *(("other", name, "unknown", "colposcopy") for name in ("ASC-US", "LSIL")),
    *(("positive", name, "hpv-positive", "colposcopy") for name in ("ASC-US", "LSIL")),
    *(("positive", name, "negative-screen", "hpv-test-1y") for name in ("ASC-US", "LSIL")),
    *(("positive", name, "clear-colposcopy", "hpv-test-1y") for name in ("ASC-US", "LSIL")),
    ("positive", "ASC-H", "unknown", "colposcopy-or-treatment"),
    *(
        (h, "HSIL", "none", "colposcopy-or-treatment")
        for h in ("positive", "18", "other", "negative")
    ),
    ("16", "HSIL", "unknown", "treatment"),
]


@pytest.mark.parametrize(("hpv", "name", "history", "outcome"), PRINTED)
def test_the_published_co_test_table_is_given_as_printed(hpv, name, history, outcome):
    said = ask("co-test-2019", name, hpv=hpv, history=history)
    assert (said.status, said.outcome) == ("suggested", outcome)
    assert said.note is None or name in ("AGC", "NILM")


@pytest.mark.parametrize("table", ["co-test-2019", "stride-co-test", "who-2021-triage"])
@pytest.mark.parametrize("hpv", ["negative", "16", "18", "other", "positive", "unknown"])
def test_agc_and_asc_h_are_never_triaged_by_hpv(table, hpv):
    for name in ("AGC", "ASC-H"):
        assert ask(table, name, hpv=hpv).outcome in (
            "colposcopy",
            "colposcopy-or-treatment",
            "immediate",
        )
    assert len({ask(table, "AGC", hpv=h).outcome for h in ("negative", hpv)}) == 1


@pytest.mark.parametrize("table", ["co-test-2019", "stride-co-test", "who-2021-triage"])
def test_asc_us_without_an_hpv_result_asks_for_hpv_triage(table):
    assert ask(table, "ASC-US", hpv="unknown").outcome == "hpv-triage"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ["age", "hpv", "history", "pregnant"])
def test_a_fact_that_is_not_given_is_insufficient_information(table, name):
    facts = {"hpv": "16", "immediate_risk_percent": 30.0, name: None}
    said = ask(table, "HSIL", **facts)
    assert (said.status, said.outcome, said.reasons) == ("insufficient", None, (f"{name}-missing",))


@pytest.mark.parametrize("age", ["", "abc", "-3", "999", "NaN", "34 or so"])
def test_an_absurd_age_is_no_age(age):
    assert ask("co-test-2019", "HSIL", hpv="16", age=age).reasons == ("age-missing",)


def test_free_text_is_no_history_of_the_tables():
    assert ask("co-test-2019", "HSIL", hpv="16", history="LEEP in 2019").reasons == (
        "history-missing",
    )


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"age": "21"}, "under-"),
        ({"age": "24.9"}, "under-"),
        ({"pregnant": "yes"}, "pregnant"),
        ({"history": "treated"}, "treated"),
    ],
)
def test_the_young_the_pregnant_and_the_treated_need_tables_of_their_own(table, facts, reason):
    said = ask(table, "HSIL", **({"hpv": "16", "immediate_risk_percent": 30.0} | facts))
    assert said.status == "not-covered"
    assert said.reasons[0].startswith(reason)
    assert said.outcome is None


@pytest.mark.parametrize("table", TABLES)
def test_an_unsatisfactory_specimen_and_a_carcinoma_are_refused(table):
    assert ask(table, adequacy="unsatisfactory", hpv="16").reasons == ("unsatisfactory",)
    assert ask(table, "SCC", hpv="16", immediate_risk_percent=90.0).reasons == ("carcinoma",)
    assert ask(table, "SCC", "AGC", hpv="16", immediate_risk_percent=90.0).outcome is None


def test_of_several_classes_the_weightiest_counts():
    assert ask("co-test-2019", "LSIL", "ASC-H", hpv="negative").outcome == "colposcopy"
    assert ask("co-test-2019", "LSIL", "ASC-H", hpv="unknown").outcome == "colposcopy"
    assert ask("co-test-2019", "HSIL", "AGC", hpv="16").outcome == "colposcopy"
    said = ask("co-test-2019", "ASC-US", "AGC", hpv="negative", history="hpv-positive")
    assert said.outcome == "colposcopy"


@pytest.mark.parametrize(
    ("now", "five", "outcome"),
    [
        (60.0, None, "treatment"),
        (59.99, None, "colposcopy-or-treatment"),
        (25.0, None, "colposcopy-or-treatment"),
        (4.0, None, "colposcopy"),
        (3.99, 0.55, "hpv-test-1y"),
        (3.99, 0.549, "return-3y"),
        (0.2, 0.15, "return-3y"),
        (0.0, 0.149, "return-5y"),
    ],
)
def test_asccp_thresholds_take_the_risk_that_was_entered(now, five, outcome):
    said = ask(
        "asccp-2019-risk",
        "LSIL",
        hpv="unknown",
        immediate_risk_percent=now,
        five_year_risk_percent=five,
    )
    assert said.outcome == outcome


def test_without_a_risk_that_was_entered_the_thresholds_say_nothing():
    assert ask("asccp-2019-risk", "HSIL", hpv="16").reasons == ("risk-unknown",)
    below = ask("asccp-2019-risk", "LSIL", hpv="16", immediate_risk_percent=1.0)
    assert below.reasons == ("risk-unknown",)


@pytest.mark.parametrize("table", TABLES)
def test_no_suggestion_comes_without_table_version_and_source(table):
    said = ask(table, "AGC", hpv="16", immediate_risk_percent=30.0)
    assert said.status == "suggested"
    assert said.outcome in OUTCOMES
    assert said.table == table
    assert said.version
    assert len(said.source) > 40


def test_the_papers_table_says_that_its_arrows_are_ours():
    table = load_follow_up("stride-co-test")
    assert "koilo's choice, not the paper's" in table.source
    bands = {rule.outcome for rule in table.rules} - {"hpv-triage"}
    assert bands == {"immediate", "return-6-12m", "return-3y", "return-5y"}


def own(tmp_path: Path, change) -> str:
    value = yaml.safe_load(CO_TEST.read_text())
    change(value)
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return str(path)


def drop_a_rule(value):
    value["rules"] = [r for r in value["rules"] if r["when"] != {"cytology": ["AGC"]}]


def doubled_rule(value):
    value["rules"].append({"when": {"cytology": ["HSIL"], "hpv": ["16"]}, "outcome": "colposcopy"})


def gap_in_age(value):
    value["axes"]["age"]["25 and over"] = [26, float("inf")]


def overlap_in_age(value):
    value["axes"]["age"]["25 and over"] = [24, float("inf")]


def no_class(value):
    value["axes"]["cytology"].remove("AGC")
    drop_a_rule(value)


def unknown_outcome(value):
    value["rules"][0]["outcome"] = "prayer"


def unknown_value(value):
    value["rules"][0]["when"]["hpv"] = ["banana"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop_a_rule, "a gap at cytology AGC, hpv negative, history none, pregnant no, age 25"),
        (doubled_rule, "an overlap at cytology HSIL, hpv 16, history none"),
        (gap_in_age, "a gap on the axis age between under 25 and 25 and over"),
        (overlap_in_age, "an overlap on the axis age between under 25 and 25 and over"),
        (no_class, "axis cytology must hold each of"),
        (unknown_outcome, "outcome 'prayer' is none of"),
        (unknown_value, "'banana' is no value of hpv"),
        (lambda value: value.pop("version"), "malformed"),
    ],
)
def test_a_table_with_a_gap_or_an_overlap_is_refused_at_load_naming_the_cell(
    tmp_path, change, said
):
    with pytest.raises(ConfigError) as caught:
        load_follow_up(own(tmp_path, change))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_laboratorys_own_table_is_used_under_its_own_name(tmp_path):
    def rename(value):
        value["name"], value["version"] = "ours", "2026-03"

    said = ask(own(tmp_path, rename), "HSIL", hpv="16")
    assert (said.table, said.version, said.outcome) == ("ours", "2026-03", "treatment")


@pytest.mark.parametrize("name", ["cdc", "/etc/passwd", "missing.yaml", ""])
def test_a_table_that_is_not_there_is_refused_with_the_known_ones(name):
    with pytest.raises(ConfigError, match="Known: co-test-2019"):
        load_follow_up(name)


def test_every_class_has_an_answer_in_every_table():
    for table in TABLES:
        for name in CYTOLOGY:
            said = ask(table, name, hpv="other", immediate_risk_percent=10.0)
            assert (said.outcome is None) == bool(said.reasons)
