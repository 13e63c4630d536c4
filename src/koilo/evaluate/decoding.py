"""Expected-cost decoding: call the class whose mistakes would cost least, not the likeliest."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from koilo.errors import ConfigError
from koilo.taxonomy import load_table

_CORNER = "truth"
"""First field of a cost CSV's header."""

_CSV_SHAPE = (
    f"A cost CSV has a header `{_CORNER},CLASS,…` and, in its order, a row a class: the class, "
    "then what calling each column's class costs; 0 or more, 0 for the class itself."
)


def cost_matrix(source: str, classes: Sequence[str]) -> NDArray[np.float64]:
    """Costs (C, C): rows the truth, columns what is called.

    Args:
        source: a table of `taxonomy/costs.yaml` by name, or the path of a CSV.
        classes: which of its classes, in which order.

    Raises:
        ConfigError: there is no such table or file, it is malformed, or it lacks a class.
    """
    tables = load_table("costs")
    if source in tables:
        known, costs = list(tables[source]["classes"]), np.array(tables[source]["costs"])
    elif Path(source).suffix.lower() == ".csv":
        known, costs = _read_csv(Path(source))
    else:
        raise ConfigError(
            f"There is no cost table {source!r}. Allowed: {', '.join(tables)}, or a .csv file. "
            "Choose one."
        )
    if missing := [each for each in classes if each not in known]:
        raise ConfigError(
            f"Cost table {source!r} has no class {', '.join(missing)}. It holds "
            f"{', '.join(known)}. Choose another table, or write a CSV with these classes."
        )
    rows = [known.index(each) for each in classes]
    return np.asarray(costs, dtype=np.float64)[np.ix_(rows, rows)]


def expected_costs(probabilities: ArrayLike, costs: ArrayLike) -> NDArray[np.float64]:
    """What calling each class is expected to cost (S, K), from ``probabilities`` (S, C).

    ``costs`` (C, K): rows the truth, columns what may be called.

    Raises:
        ValueError: a probability is not finite; it would be called the first class, NILM.
    """
    p = np.asarray(probabilities, np.float64)
    if not np.isfinite(p).all():
        raise ValueError("a probability is not finite; leave slides without a result out")
    return p @ np.asarray(costs, np.float64)


def decode(probabilities: ArrayLike, costs: ArrayLike) -> NDArray[np.int64]:
    """The column of ``costs`` (S,) of least expected cost; the first where several cost the same.

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


def _read_csv(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """The classes and costs of a CSV."""
    try:
        header, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        classes = [name.strip() for name in header[1:]]
        if header[0].strip() != _CORNER or len(set(classes)) < max(len(classes), 2):
            raise ValueError(f"its header is {','.join(header)}")
        if [row[0].strip() for row in rows if row] != classes:
            raise ValueError("its rows are not the classes of its header")
        costs = np.array([[float(value) for value in row[1:]] for row in rows if row])
        if costs.shape != (len(classes),) * 2:
            raise ValueError(f"it is {' x '.join(map(str, costs.shape))}, not square")
        if not all(math.isfinite(cost) and cost >= 0 for cost in costs.flat) or costs.trace() != 0:
            raise ValueError("a cost is negative or no number, or a right call costs something")
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read as costs ({error}). {_CSV_SHAPE} Mend the file."
        ) from error
    return classes, costs
