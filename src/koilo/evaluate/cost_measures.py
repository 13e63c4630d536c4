"""What calls cost: that of the likeliest class, of the cheapest class, of the locked threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.errors import ManifestError
from koilo.evaluate.decoding import cost_matrix, decode, mean_cost
from koilo.evaluate.grades import place_in, shared_classes
from koilo.evaluate.intervals import bootstrap
from koilo.evaluate.measures import Judged
from koilo.evaluate.scores import confusion
from koilo.taxonomy import NEGATIVE

Indices = NDArray[np.int64]


def measure_costs(
    judged: Judged, source: str, *, draws: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Mean cost and confusion of each way of calling, in the mix of the set.

    Truth and model are folded until their classes fit. A class that the model does not know may be
    the truth and is never called.

    Args:
        judged: slides with truth and probabilities of all classes.
        source: a cost table by name, or the path of a CSV.
        draws: resamples of the bootstrap, within classes.
        seed: of the draws.

    Raises:
        ManifestError: a slide has no probabilities of classes.
        ConfigError: the costs are malformed, or lack a class.
    """
    without = [slide.slide_id for slide in judged.slides if NEGATIVE not in slide.probabilities]
    if without:
        raise ManifestError(
            f"{len(without)} slides have no probabilities of classes, such as {without[0]}. "
            f"--costs needs p_{NEGATIVE} and p_<CLASS> of every slide. Give scores with these "
            "columns, or leave --costs out."
        )
    known = {name for slide in judged.slides for name in slide.probabilities}
    classes = shared_classes([*judged.labels, *known])
    place = {name: classes.index(place_in(name, classes)) for name in {*judged.labels, *known}}
    costs = cost_matrix(source, classes)  # (C, C)
    truth = np.array([place[label] for label in judged.labels])  # (N,)
    calls = _calls(judged, place, costs)

    def measured(first: str, second: str | None = None) -> Any:
        """Mean cost of the first way of calling, less that of the second."""

        def paid(drawn: NDArray[np.intp]) -> float:
            own, other = (
                mean_cost(truth[drawn], calls[name][drawn], costs) if name else 0.0
                for name in (first, second)
            )
            return own - other

        every = np.arange(truth.size)
        return bootstrap(paid, every, strata=truth, draws=draws, seed=seed)

    return {
        "source": source,
        "classes": classes,
        "costs": costs,
        "calls": [
            {"call": name, "mean_cost": measured(name), "table": _table(truth, called, classes)}
            for name, called in calls.items()
        ],
        "likeliest_less_cheapest": measured("likeliest", "cheapest"),
    }


def _calls(
    judged: Judged, place: Mapping[str, int], costs: NDArray[np.float64]
) -> dict[str, Indices]:
    """Classes called (N,) by index, by each way; the locked threshold's where there is one."""
    p = np.zeros((len(judged.slides), len(costs)))  # (N, C)
    for row, slide in zip(p, judged.slides, strict=True):
        for name, value in slide.probabilities.items():
            row[place[name]] += value
    own = np.array(sorted({place[name] for slide in judged.slides for name in slide.probabilities}))
    calls = {
        "likeliest": own[p[:, own].argmax(axis=1)],
        "cheapest": own[decode(p, costs[:, own])],
    }
    locked = [slide.called for slide in judged.slides]
    if all(locked):
        calls["locked threshold"] = np.array([place[str(name)] for name in locked])
    return calls


def _table(truth: Indices, called: Indices, classes: tuple[str, ...]) -> NDArray[np.int64]:
    return confusion([classes[i] for i in truth], [classes[i] for i in called], classes)
