"""Expected-cost decoding: call the class whose mistakes would cost least, not the likeliest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koilo.errors import ConfigError
from koilo.taxonomy import load_table


def cost_matrix(name: str, classes: Sequence[str]) -> NDArray[np.float64]:
    """Costs (C, C) of a table of `taxonomy/costs.yaml`: rows the truth, columns what is called.

    Args:
        name: of the table.
        classes: which of its classes, in which order.

    Raises:
        ConfigError: there is no such table, or it lacks a class.
    """
    tables = load_table("costs")
    if name not in tables:
        raise ConfigError(
            f"There is no cost table {name!r}. Allowed: {', '.join(tables)}. Choose one."
        )
    known = list(tables[name]["classes"])
    if missing := [each for each in classes if each not in known]:
        raise ConfigError(
            f"Cost table {name!r} has no class {', '.join(missing)}. It holds {', '.join(known)}. "
            "Choose another table, or fold the classes."
        )
    rows = [known.index(each) for each in classes]
    return np.array(tables[name]["costs"], dtype=np.float64)[np.ix_(rows, rows)]


def expected_costs(probabilities: ArrayLike, costs: ArrayLike) -> NDArray[np.float64]:
    """What calling each class is expected to cost (S, C), from ``probabilities`` (S, C).

    ``costs`` (C, C): rows the truth, columns what is called.
    """
    return np.asarray(probabilities, np.float64) @ np.asarray(costs, np.float64)


def decode(probabilities: ArrayLike, costs: ArrayLike) -> NDArray[np.int64]:
    """The class (S,) of least expected cost; the first where several cost the same.

    >>> decode([[0.6, 0.4]], [[0, 1], [10, 0]]).tolist()
    [1]
    """
    return np.asarray(expected_costs(probabilities, costs).argmin(axis=1))


def mean_cost(truth: ArrayLike, called: ArrayLike, costs: ArrayLike) -> float:
    """What was paid on average for calling ``called`` (S,) where ``truth`` (S,) held.

    TissueNet's score is 1 minus this, under its own table.
    """
    table = np.asarray(costs, np.float64)
    return float(table[np.asarray(truth), np.asarray(called)].mean())
