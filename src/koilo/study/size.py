"""The verb ``study size``: how many slides a paired reader study needs, before any is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from koilo.errors import ConfigError
from koilo.evaluate.paired_size import independent_discordance, pairs_needed, slides_needed
from koilo.evaluate.tables import Table
from koilo.progress import log

_MEASURES = ("sensitivity", "specificity")


@dataclass(frozen=True, kw_only=True)
class SizeConfig:
    """What is expected of readers with and without AI, and what the study shall show."""

    sensitivity_without: float = 0.713
    """expected without AI (the default: four readers of a published crossover of 1,920 women)"""
    sensitivity_with: float = 0.857
    """expected with AI (the same study)"""
    specificity_without: float = 0.851
    """expected without AI (the same study)"""
    specificity_with: float = 0.865
    """expected with AI (the same study)"""
    discordance: float | None = None
    """share of slides that just one of the two readings has right; default: as if their errors
    were independent, which asks for more slides than are mostly needed"""
    superiority_margin: float = 0.05
    """how much better counts as better by a margin, as a share"""
    noninferiority_margin: float = -0.05
    """how much worse is still not inferior, as a share, below 0"""
    power: float = 0.8
    """chance to show what is true, 0 to 1"""
    prevalence: float = 0.1
    """share of positives among the slides that are read in turn, 0 to 1"""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing, all in one error."""
        problems = self.problems()
        if problems:
            raise ConfigError(f"koilo study: {'; '.join(problems)}. See koilo study --help.")

    def problems(self) -> list[str]:
        """What is out of range."""
        shares = [f"{name}_{how}" for name in _MEASURES for how in ("without", "with")]
        found = [
            f"{name} is {getattr(self, name):g} (allowed: above 0, below 1)"
            for name in (*shares, "power", "prevalence")
            if not 0 < getattr(self, name) < 1
        ]
        found += margin_problems(self.superiority_margin, self.noninferiority_margin)
        if self.discordance is not None and not found:
            for name in _MEASURES:
                one, two = self.shares(name)
                least, most = abs(two - one), min(one + two, 2 - one - two)
                if not max(least, 1e-9) <= self.discordance <= most:
                    found.append(
                        f"discordance is {self.discordance:g} (allowed for this {name}: "
                        f"{least:.3g} to {most:.3g})"
                    )
        return found

    def shares(self, measure: str) -> tuple[float, float]:
        """The expected share without and with AI."""
        return getattr(self, f"{measure}_without"), getattr(self, f"{measure}_with")


def margin_problems(superiority: float, noninferiority: float) -> list[str]:
    """What is wrong with a pair of margins."""
    found = []
    if not 0 <= superiority < 1:
        found.append(f"superiority_margin is {superiority:g} (allowed: 0 to below 1)")
    if not -1 < noninferiority < 0:
        found.append(f"noninferiority_margin is {noninferiority:g} (allowed: above -1, below 0)")
    return found


def size(config: SizeConfig) -> int:
    """Say how many slides a paired reader study needs, by claim.

    Returns:
        exit status 0.

    Raises:
        ConfigError: a setting is out of range.
    """
    for line in size_lines(config):
        log.info("%s", line)
    return 0


def size_table(config: SizeConfig) -> Table:
    """Positives, negatives and slides in all for each claim; None where no number is enough."""
    claims = {
        f"not inferior (margin {config.noninferiority_margin:+.0%})": config.noninferiority_margin,
        "superior (margin 0)": 0.0,
        f"superior by a margin ({config.superiority_margin:+.0%})": config.superiority_margin,
    }
    rows: list[list[Any]] = []
    for claim, margin in claims.items():
        positives, negatives = (
            pairs_needed(
                *config.shares(name),
                margin=margin,
                discordance=config.discordance,
                power=config.power,
            )
            for name in _MEASURES
        )
        slides = slides_needed(positives, negatives, config.prevalence)
        rows.append([claim, positives, negatives, slides])
    columns = ["claim", "positives (sensitivity)", "negatives (specificity)", "slides for both"]
    return Table("Slides needed, each read with and without AI", columns, rows)


def size_lines(config: SizeConfig) -> list[str]:
    """The table and what it rests on, a line each."""
    told = []
    for name in _MEASURES:
        one, two = config.shares(name)
        differ = config.discordance
        share = independent_discordance(one, two) if differ is None else differ
        how = "errors independent" if differ is None else "as given"
        told.append(f"{name} {one:.1%} without AI, {two:.1%} with; {share:.1%} of the slides "
                    f"differ ({how})")  # fmt: skip
    told.append(f"power {config.power:.0%}, two-sided 5 %, prevalence {config.prevalence:.0%}")
    for claim, positives, negatives, slides in size_table(config).rows:
        told.append(
            f"{claim}: {_number(positives)} positives for sensitivity, {_number(negatives)} "
            f"negatives for specificity, {_number(slides)} slides in turn for both"
        )
    return told


def _number(value: int | None) -> str:
    return "no number of" if value is None else f"{value:,}"
