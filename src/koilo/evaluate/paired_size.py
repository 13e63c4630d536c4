"""How many slides a reader study needs: paired sensitivity and specificity, test and margin.

Positives and negatives are counted apart, one pair of readings each: more readers of the same
slides make the result hold for more people, but replace no slide.
"""

from __future__ import annotations

import math
from typing import Literal

Claim = Literal["superiority", "superiority by margin", "non-inferiority"]


def independent_discordance(first: float, second: float) -> float:
    """Share of pairs that differ where the two readings err independently of each other.

    Readings of one slide mostly err together, so the true share is smaller: this is the safe side.

    >>> round(independent_discordance(0.8, 0.9), 3)
    0.26
    """
    return first * (1 - second) + second * (1 - first)


def pairs_needed(
    first: float,
    second: float,
    *,
    margin: float = 0.0,
    discordance: float | None = None,
    power: float = 0.8,
    level: float = 0.95,
) -> int | None:
    """Pairs with which the second share is shown to exceed the first by more than ``margin``.

    With a margin of 0 it is McNemar's test [1]; with another, the Wald form of the test on a
    difference of correlated shares [2]. The test is two-sided at ``level``, so one-sided at half.

    Args:
        first: expected sensitivity (or specificity) without help.
        second: with it.
        margin: 0 superiority, negative non-inferiority, positive superiority by a margin.
        discordance: share of pairs that differ; None: as if errors were independent.
        power: chance to show it where the expectation is true.
        level: of the interval.

    Returns:
        the number; None where the expected difference does not exceed the margin, so that no
        number is enough.

    Raises:
        ValueError: a share lies outside 0 to 1, or the discordance cannot be.

    [1] Connor, Biometrics 43 (1987) 207-211. [2] Lu and Bean, Stat Med 14 (1995) 1831-1839.

    >>> pairs_needed(0.7, 0.85, discordance=0.25)
    85
    """
    from scipy.stats import norm

    psi = _checked(first, second, discordance)
    difference = second - first
    if difference <= margin:
        return None
    z_level, z_power = float(norm.ppf(0.5 + level / 2)), float(norm.ppf(power))
    spread = math.sqrt(max(psi - difference**2, 0.0))
    null_spread = math.sqrt(psi) if margin == 0 else spread
    n = ((z_level * null_spread + z_power * spread) / (difference - margin)) ** 2
    return max(1, math.ceil(n - 1e-9))


def slides_needed(n_positive: int | None, n_negative: int | None, prevalence: float) -> int | None:
    """Slides to be read in turn until both numbers are expected among them; None where one is.

    Raises:
        ValueError: the prevalence does not lie between 0 and 1.

    >>> slides_needed(85, 200, 0.1)
    850
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence {prevalence:g} has to lie between 0 and 1.")
    if n_positive is None or n_negative is None:
        return None
    return max(
        math.ceil(n_positive / prevalence - 1e-9), math.ceil(n_negative / (1 - prevalence) - 1e-9)
    )


def _checked(first: float, second: float, discordance: float | None) -> float:
    """The share of pairs that differ, after everything was looked at."""
    if not (0 < first < 1 and 0 < second < 1):
        raise ValueError(f"shares {first:g} and {second:g} have to lie between 0 and 1.")
    if discordance is None:
        return independent_discordance(first, second)
    least, most = abs(second - first), min(first + second, 2 - first - second)
    if not least <= discordance <= most + 1e-12 or discordance == 0:
        raise ValueError(
            f"discordance {discordance:g} cannot be: with shares of {first:g} and {second:g} it "
            f"lies between {least:g} and {most:g}, and above 0."
        )
    return discordance
