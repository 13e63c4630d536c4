"""The verb ``models``: which bundles are at hand, what they were trained on and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koilo.bundle import Bundle, builtin_names, load_bundle
from koilo.errors import BundleError


@dataclass(frozen=True)
class ModelsConfig:
    """What to list.

    With no PATH the built-in bundles; each named bundle is verified by hash.
    """

    paths: tuple[str, ...] = field(default=(), metadata={"positional": "many"})
    """bundle names or folders; none for all built-in ones"""
    card: bool = False
    """print the whole model card"""


def models(config: ModelsConfig) -> int:
    """List the model bundles at hand, with what they were trained on and measured."""
    names = config.paths or builtin_names()
    if not names:
        raise BundleError(
            "This build has no built-in bundle. Bundles are folders with a bundle.json. "
            "Name one: `koilo models DIR`."
        )
    for number, name in enumerate(names):
        bundle = load_bundle(name)
        print("\n" * (number > 0) + (bundle.card if config.card else describe(bundle)))
    return 0


def describe(bundle: Bundle) -> str:
    """A bundle in a dozen lines: stages, classes, operating points, training data, limits."""
    size_mb = sum(path.stat().st_size for path in Path(bundle.folder).iterdir()) / 1e6
    lines = [
        f"{bundle.name}   sha256 {bundle.sha256[:16]}   {size_mb:.1f} MB   research use only",
    ]
    lines += [_stage_line(name, bundle.stage(name)) for name in bundle.spec["stages"]]
    for name, point in bundle.spec["operating_points"].items():
        lines.append(
            f"  {name:<13} p_positive >= {point['threshold']:.3g}: sensitivity "
            f"{point['sensitivity']:.1%}{_bounds(point)}, specificity {point['specificity']:.1%} "
            f"on {point['n']} ({point['set']})"
        )
    lines.append("  trained on    " + "; ".join(bundle.spec["trained_on"]))
    lines.append("  not assessed  " + "; ".join(bundle.spec["not_assessed"]))
    return "\n".join(lines)


def _bounds(point: Mapping[str, Any]) -> str:
    """The interval of an operating point's sensitivity, which older bundles do not carry."""
    interval = point.get("sensitivity_interval")
    return f" ({interval[0]:.1%} to {interval[1]:.1%})" if interval else ""


def _stage_line(name: str, stage: dict[str, Any] | Any) -> str:
    size_px = stage.get("tile_px") or stage.get("input_px")
    facts = [str(stage["model"])]
    if size_px:
        facts.append(f"{size_px} px at {stage['mpp']:g} µm/px")
    if "classes" in stage:
        facts.append(", ".join(stage["classes"]))
    return f"  {name:<13} " + "   ".join(facts)
