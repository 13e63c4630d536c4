"""The verb sign: a reader's interpretation of one slide, appended to its signatures."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from koilo.errors import ConfigError, OutputError
from koilo.files import folder_lock
from koilo.progress import log
from koilo.report.laboratory import read_laboratory
from koilo.report.page import rewrite_report
from koilo.results import RESULT, read_slide_result, remove_exports
from koilo.signatures import ENDOMETRIAL_AGE, Signature, add_signature, check_signature
from koilo.taxonomy.follow_up import Facts, FollowUp, load_follow_up, suggest, years
from koilo.types import SlideResult

_MOST_RISK_PERCENT = 100.0


@dataclass(frozen=True)
class SignConfig:
    """Which slide `koilo sign` signs, who signs it and what is signed."""

    results: Path = field(metadata={"positional": "one"})
    """the results folder of `koilo screen`"""
    slide: str
    """the slide's id: its folder's name below the results folder"""
    reader: str
    """who signs: name, and what else identifies the reader"""
    meaning: Literal["screened", "reviewed", "approved", "amended", "corrected"]
    """what it means; a later signature rises in this order, or says that it amends or corrects"""
    interpretation: str = ""
    """Bethesda class, or several with commas: 'LSIL, ASC-H'; of NILM, ASC-US, LSIL, ASC-H, HSIL,
    SCC, AGC"""
    adequacy: Literal["satisfactory", "unsatisfactory"] | None = None
    """the specimen's adequacy; an unsatisfactory one has no interpretation"""
    transformation_zone: Literal["seen", "absent"] | None = None
    """its component, as a remark"""
    endometrial_cells: bool = False
    """endometrial cells were seen; reported at an age of 45 or more only"""
    organisms: str = ""
    """one or several with commas: trichomonas, candida, bacterial-vaginosis, actinomyces, herpes,
    cmv"""
    remark: str | None = None
    """one line of the reader's own"""
    follow_up: str | None = None
    """table to ask for a follow-up: co-test-2019, stride-co-test, who-2021-triage, asccp-2019-risk,
    or one's own YAML file; none is asked by default"""
    age: str | None = None
    """for the table: years, or unknown; the manifest's where not given"""
    hpv: Literal["negative", "16", "18", "other", "positive", "unknown"] | None = None
    """for the table: the HPV test with its type; the manifest's where not given"""
    history: str | None = None
    """for the table: none, unknown, hpv-negative, hpv-positive, negative-screen (with HPV test
    within 5 years), clear-colposcopy (no high-grade lesion within one year), treated; the
    manifest's where not given"""
    pregnant: Literal["yes", "no", "unknown"] | None = None
    """for the table; the manifest's where not given"""
    immediate_risk_percent: float | None = None
    """for asccp-2019-risk: immediate risk of CIN 3+ from the published tables; never computed"""
    five_year_risk_percent: float | None = None
    """for asccp-2019-risk: the same within 5 years"""


def sign(config: SignConfig) -> int:
    """Sign one slide's result as a reader: who, what, and what the signature means.

    Its report says so from then on.

    Returns:
        exit status 0.

    Raises:
        ConfigError: a name, class, combination or meaning is not allowed; a follow-up table is
            unknown or has a gap.
        OutputError: there is no such slide, it was not read, or the folder is in use.
    """
    folder = _folder(config)
    with folder_lock(config.results):
        read_laboratory(config.results)  # refused before anything is signed
        result = read_slide_result(folder)
        if result.status != "done":
            raise OutputError(
                f"Slide {config.slide} was not read ({result.error}). Only a result can be signed. "
                "Mend the slide and screen it again."
            )
        signature = _signature(config, result)
        check_signature(signature)
        written = add_signature(folder, signature)
        rewrite_report(folder)
        remove_exports(folder)  # they say what stood before
    shown = ", ".join(written.interpretation) or "unsatisfactory"
    log.info("%s: %s as %s by %s", config.slide, written.meaning, shown, written.reader)
    _say_follow_up(written)
    return 0


def _folder(config: SignConfig) -> Path:
    """The slide's folder; nothing outside the results folder is ever named by an id."""
    folder = config.results / config.slide
    inside = folder.resolve().parent == config.results.resolve()
    if not inside or not (folder / RESULT).is_file():
        raise OutputError(
            f"{config.results} holds no slide '{config.slide[:80]}'. A slide's id is the name of "
            "its folder there, as in slides.csv. Check --slide."
        )
    return folder


def _signature(config: SignConfig, result: SlideResult) -> Signature:
    zone = {"seen": True, "absent": False, None: None}[config.transformation_zone]
    said = _follow_up(config, result)
    signature = Signature(
        slide_id=result.slide_id,
        reader=config.reader.strip(),
        meaning=config.meaning,
        signed_at="",
        interpretation=_several(config.interpretation),
        result_sha256="",
        cells_sha256="",
        adequacy=config.adequacy,
        transformation_zone=zone,
        endometrial_cells=config.endometrial_cells,
        organisms=_several(config.organisms),
        remark=config.remark,
        follow_up=None if said is None else asdict(said),
    )
    age = years(_facts(config, result).age)
    if config.endometrial_cells and (age is None or age < ENDOMETRIAL_AGE):
        raise ConfigError(
            f"--endometrial-cells are reported from {ENDOMETRIAL_AGE} years on, and the age is "
            f"{'not known' if age is None else f'{age:g}'}. Give --age, or leave the flag out."
        )
    return signature


def _follow_up(config: SignConfig, result: SlideResult) -> FollowUp | None:
    """What the table says, if one is asked."""
    risks = (config.immediate_risk_percent, config.five_year_risk_percent)
    if any(risk is not None and not 0 <= risk <= _MOST_RISK_PERCENT for risk in risks):
        raise ConfigError("A risk is a percentage: from 0 to 100 is allowed. Enter it so.")
    if config.follow_up is None:
        return None
    table = load_follow_up(config.follow_up)
    interpretation = _several(config.interpretation)
    return suggest(table, interpretation, config.adequacy, _facts(config, result))


def _several(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split("[,+;]", text) if part.strip())


def _facts(config: SignConfig, result: SlideResult) -> Facts:
    """The flags' facts, and where they say nothing the manifest's."""
    case = result.slide.get("case", {})
    return Facts(
        age=config.age or case.get("age"),
        hpv=config.hpv or case.get("hpv"),
        history=config.history or case.get("history"),
        pregnant=config.pregnant or case.get("pregnant"),
        immediate_risk_percent=config.immediate_risk_percent,
        five_year_risk_percent=config.five_year_risk_percent,
    )


def _say_follow_up(signature: Signature) -> None:
    said = signature.follow_up
    if said is not None:
        answer = said["outcome"] or f"{said['status']}: {', '.join(said['reasons'])}"
        log.info("follow-up by table %s, version %s: %s", said["table"], said["version"], answer)
