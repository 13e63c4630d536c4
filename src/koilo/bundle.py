"""A model bundle: bundle.json and tensors in one folder, verified by hash; knows no model.

``bundle.json`` names the model, its configuration, pixel size, input size and classes of each
stage, the locked operating points, what was trained on and what is not assessed, and the SHA-256
of each tensor file. Tensors are half precision in safetensors. The bundle's own identity is the
hash of bundle.json, which holds all the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from koilo.config import nearest
from koilo.errors import BundleError
from koilo.files import ensure_folder, sha256_file, write_bytes, write_json, write_text
from koilo.taxonomy import NEGATIVE, check_classes, fold_matrix

Tensors = dict[str, NDArray[Any]]

FORMAT = 1
STAGES = ("detector", "cells", "head")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose description and tensor files were read and verified.

    Attributes:
        folder: where it lies.
        spec: bundle.json as a dictionary.
        sha256: hash of bundle.json, the bundle's identity.
    """

    folder: Path
    spec: Mapping[str, Any]
    sha256: str

    @property
    def name(self) -> str:
        """The bundle's own name, such as ``cytology``."""
        return str(self.spec["name"])

    @cached_property
    def card(self) -> str:
        """The model card in Markdown; empty where there is none."""
        path = self.folder / "card.md"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def stage(self, name: str) -> Mapping[str, Any]:
        """What bundle.json says of one stage: model, config, mpp, input size, classes.

        Raises:
            BundleError: the bundle has no such stage.
        """
        try:
            return self.spec["stages"][name]
        except KeyError as error:
            raise BundleError(
                f"bundle {self.name} has no {name} stage, only {', '.join(self.spec['stages'])}. "
                "Choose a bundle that has one with --model."
            ) from error

    def tensors(self, stage: str) -> Tensors:
        """The tensors of one stage by name, in single precision.

        Raises:
            BundleError: the file is missing, altered or no safetensors file.
        """
        from safetensors.numpy import load

        file = f"{stage}.safetensors"
        try:
            loaded = load((self.folder / file).read_bytes())
        except Exception as error:  # safetensors raises its own kinds
            raise _unreadable(self.folder, f"{file} cannot be read ({error})") from error
        return {
            name: value.astype(np.float32) if value.dtype == np.float16 else value
            for name, value in loaded.items()
        }

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all tensor files, those beside the stages too; each is read by `tensors`."""
        return tuple(Path(file).stem for file in self.spec["sha256"])

    def operating_point(self, name: str) -> Mapping[str, Any]:
        """A locked threshold with the set it was locked on, its sensitivity, specificity and n.

        Raises:
            BundleError: the bundle has none of that name.
        """
        points: Mapping[str, Mapping[str, Any]] = self.spec["operating_points"]
        if name not in points:
            raise BundleError(
                f"bundle {self.name} has no operating point {name}. It has: {', '.join(points)}. "
                "Lock one on labelled slides first."
            )
        return points[name]


def builtin_names() -> tuple[str, ...]:
    """Names of the bundles that ship in the package."""
    root = Path(str(files("koilo"))) / "bundles"
    return tuple(sorted(path.parent.name for path in root.glob("*/bundle.json")))


def load_bundle(name_or_path: str | Path) -> Bundle:
    """Load a built-in bundle by name, or a folder by path, and verify every file's hash.

    Raises:
        BundleError: unknown, incomplete or altered, or its class lists do not fit each other.
    """
    folder = _locate(name_or_path)
    try:
        raw = (folder / "bundle.json").read_bytes()
        spec = json.loads(raw)
    except (OSError, ValueError) as error:
        raise _unreadable(folder, f"bundle.json cannot be read ({error})") from error
    _check_spec(folder, spec)
    for file, expected in spec["sha256"].items():
        path = folder / file
        if not path.is_file():
            raise _unreadable(folder, f"{file} is missing")
        if sha256_file(path) != expected:
            raise _unreadable(folder, f"{file} was altered: its SHA-256 is not the recorded one")
    import hashlib

    return Bundle(folder, spec, hashlib.sha256(raw).hexdigest())


def as_stored(tensors: Tensors) -> Tensors:
    """Tensors as a bundle holds them: floating point in half precision."""
    return {
        name: np.ascontiguousarray(value.astype(np.float16) if value.dtype.kind == "f" else value)
        for name, value in tensors.items()
    }


def write_bundle(
    folder: Path, spec: Mapping[str, Any], tensors: Mapping[str, Tensors], card: str
) -> Bundle:
    """Write a bundle folder: tensors in half precision, hashes, card; bundle.json last.

    Args:
        folder: made where it does not exist.
        spec: bundle.json without ``format`` and ``sha256``.
        tensors: stage name to its tensors; floating point becomes float16.
        card: the model card in Markdown.

    Raises:
        BundleError: the description is incomplete or its classes do not fit.
        OutputError: the folder cannot be written.
    """
    from safetensors.numpy import save

    ensure_folder(folder)
    hashes = {}
    for stage, values in tensors.items():
        file = f"{stage}.safetensors"
        write_bytes(folder / file, save(as_stored(values)))
        hashes[file] = sha256_file(folder / file)
    full = {"format": FORMAT, **spec, "sha256": hashes}
    _check_spec(folder, full)
    write_text(folder / "card.md", card)
    write_json(folder / "bundle.json", full)
    return load_bundle(folder)


def add_stage(
    folder: Path, name: str, stage: Mapping[str, Any], tensors: Tensors, card: str
) -> Bundle:
    """Put one more stage into a bundle, or a new one in the place of an old: a new identity.

    Args:
        folder: of the bundle.
        name: of the stage.
        stage: what bundle.json says of it.
        tensors: its tensors; floating point becomes float16.
        card: the whole model card.

    Raises:
        BundleError: there is no whole bundle in ``folder``.
        OutputError: the folder cannot be written.
    """
    from safetensors.numpy import save

    bundle = load_bundle(folder)
    file = f"{name}.safetensors"
    write_bytes(folder / file, save(as_stored(tensors)))
    spec = dict(bundle.spec)
    spec["stages"] = {**spec["stages"], name: dict(stage)}
    spec["sha256"] = {**spec["sha256"], file: sha256_file(folder / file)}
    _check_spec(folder, spec)
    write_text(folder / "card.md", card)
    write_json(folder / "bundle.json", spec)
    return load_bundle(folder)


def _locate(name_or_path: str | Path) -> Path:
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    names = builtin_names()
    if str(name_or_path) in names:
        return Path(str(files("koilo"))) / "bundles" / str(name_or_path)
    raise BundleError(
        f"There is no bundle '{name_or_path}': neither a built-in name nor a folder. "
        + (nearest(str(name_or_path), names) if names else "This build has no built-in bundle.")
        + " `koilo models` lists what there is."
    )


def _check_spec(folder: Path, spec: Any) -> None:
    if not isinstance(spec, dict) or spec.get("format") != FORMAT:
        raise _unreadable(folder, f"bundle.json is not of format {FORMAT}")
    wanted = ("name", "stages", "operating_points", "not_assessed", "trained_on", "sha256")
    missing = [key for key in wanted if key not in spec]
    missing += [f"stages.{stage}" for stage in STAGES if stage not in spec.get("stages", {})]
    if missing:
        raise _unreadable(folder, f"bundle.json lacks {', '.join(missing)}")
    unhashed = [s for s in spec["stages"] if f"{s}.safetensors" not in spec["sha256"]]
    if unhashed:
        raise _unreadable(folder, f"bundle.json has no hash for {', '.join(unhashed)}")
    try:
        cells = check_classes(spec["stages"]["cells"]["classes"])
        head = check_classes(spec["stages"]["head"]["classes"])
        _check_folds([n for n in cells if n != NEGATIVE], [n for n in head if n != NEGATIVE])
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(folder, f"its classes do not fit: {error}") from error
    try:
        for name, point in spec["operating_points"].items():
            _check_point(name, point)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(folder, f"its operating points do not fit: {error}") from error


def _check_point(name: str, point: Mapping[str, Any]) -> None:
    """A threshold is needed; intervals and calibration came later and may be absent.

    Raises:
        KeyError, TypeError, ValueError: saying what does not fit.
    """
    for field in ("threshold", "temperature", "prevalence", "set_prevalence"):
        if field == "threshold" or field in point:
            float(point[field])
    for field in ("sensitivity_interval", "specificity_interval"):
        if field in point:
            low, high = (float(bound) for bound in point[field])
            if not 0 <= low <= high <= 1:
                raise ValueError(f"{name}: {field} {low:g} to {high:g} is no interval of a share")


def _check_folds(cells: list[str], head: list[str]) -> None:
    """One list has to be a folding of the other.

    CRIC's cells are finer than its slide classes, the paper's (ASC-H+HSIL+SCC) are coarser.

    Raises:
        ValueError: neither is.
    """
    try:
        fold_matrix(cells, head)
    except ValueError:
        if not fold_matrix(head, cells).any(axis=0).all():  # a cell class that no slide may have
            raise


def _unreadable(folder: Path, what: str) -> BundleError:
    return BundleError(
        f"Bundle {folder} cannot be used: {what}. Take the bundle again from where it came; "
        "a bundle is changed only by the commands that make one."
    )
