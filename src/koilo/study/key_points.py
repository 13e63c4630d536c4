"""STRIDE's two key points of a trial, checked slide by slide: what was missed, what was cleared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from koilo.study.agreement import one_class
from koilo.study.record import Reading
from koilo.study.shares import Values
from koilo.study.words import is_positive
from koilo.taxonomy import NEGATIVE, severity

LIMIT = "ASC-US"


def key_points(readings: Sequence[Reading]) -> Values:
    """Both points over all readings of a record, also those without a second review.

    Point a: no slide whose gold standard lies above ASC-US is missed by the AI and by a person. A
    person misses it where every review there is says NILM; ``by_one_review`` is stricter, and names
    slides that the AI and either review missed. Point b: slides with a suspicion of a panel reader
    that the arbitration made NILM.
    """
    with_ai = [reading for reading in readings if reading.ai_result]
    graver = [each for each in with_ai if severity(one_class(each.gold)) > severity(LIMIT)]
    at_limit = [each for each in with_ai if one_class(each.gold) == LIMIT]
    cleared = [each for each in _once(readings) if each.arbitration == NEGATIVE]
    return {
        "missed_above_limit": {
            "limit": LIMIT,
            "n_slides": len(_once(graver)),
            "by_ai": _names(each for each in graver if _ai_missed(each)),
            "by_a_person": _names(each for each in graver if _all_missed(each)),
            "by_both": _names(each for each in graver if _ai_missed(each) and _all_missed(each)),
            "by_one_review": _names(
                each for each in graver if _ai_missed(each) and NEGATIVE in _reviews(each)
            ),
            "holds": not any(_ai_missed(each) and _all_missed(each) for each in graver),
        },
        "missed_at_limit": {
            "n_slides": len(_once(at_limit)),
            "by_ai": _names(each for each in at_limit if _ai_missed(each)),
            "by_both": _names(each for each in at_limit if _ai_missed(each) and _all_missed(each)),
        },
        "arbitrated_to_negative": {
            "n_slides": len(cleared),
            "slides": [each.slide_id for each in cleared],
            "suspected_by_one_panel_reader": [
                each.slide_id for each in cleared if sum(map(is_positive, _panel(each))) == 1
            ],
            "suspected_by_both": [
                each.slide_id for each in cleared if sum(map(is_positive, _panel(each))) == 2
            ],
            "suspected_in_a_review": _names(
                each
                for each in readings
                if each.arbitration == NEGATIVE and any(map(is_positive, _reviews(each)))
            ),
        },
    }


def _ai_missed(reading: Reading) -> bool:
    return not is_positive(reading.ai_result)


def _all_missed(reading: Reading) -> bool:
    """Whether there is a review and none is positive."""
    reviews = _reviews(reading)
    return bool(reviews) and not any(map(is_positive, reviews))


def _reviews(reading: Reading) -> list[str]:
    return [call for call in (reading.first_review, reading.second_review) if call]


def _panel(reading: Reading) -> list[str]:
    return [call for call in (reading.panel_1, reading.panel_2) if call]


def _once(readings: Sequence[Reading]) -> list[Reading]:
    return list({reading.slide_id: reading for reading in readings}.values())


def _names(readings: Iterable[Reading]) -> list[str]:
    return list(dict.fromkeys(reading.name for reading in readings))
