"""The verb ``doctor``: checks the installation, and says how to mend what is amiss."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from koilo import __version__
from koilo.bundle import builtin_names, load_bundle
from koilo.errors import KoiloError
from koilo.files import ensure_folder

State = Literal["ok", "warning", "error"]

MEMORY_WANTED_GB = 4.0
DISK_WANTED_GB = 2.0


@dataclass(frozen=True)
class DoctorConfig:
    """What to check."""

    out: Path = field(default=Path("."), metadata={"result": False})
    """folder that results would be written to"""
    json: bool = False
    """print the checks as JSON"""


@dataclass(frozen=True)
class Check:
    """One finding: its state, a name, what was found, and how to mend it (empty if ok)."""

    state: State
    name: str
    message: str
    fix: str = ""


def doctor(config: DoctorConfig) -> int:
    """Check the installation, the machine and the bundles, and say how to mend what is amiss."""
    checks = run_checks(config.out)
    if config.json:
        print(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            print(f"{check.state:<8} {check.name:<{width}}  {check.message}")
            if check.fix:
                print(f"{'':<8} {'':<{width}}  -> {check.fix}")
    return 1 if any(check.state == "error" for check in checks) else 0


def run_checks(out: Path) -> list[Check]:
    """Every check, each guarded: a check that itself fails is an error with its reason."""
    named: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("koilo", _check_python),
        ("torch", _check_torch),
        ("torchvision", _check_torchvision),
        ("openslide", _check_openslide),
        ("jpeg", _check_jpeg),
        ("memory", _check_memory),
        ("disk", lambda: _check_disk(out)),
    )
    checks = [_guarded(name, check) for name, check in named]
    names = builtin_names()
    if not names:
        fix = "install a release of koilo, or name a bundle with --model DIR"
        checks.append(Check("warning", "bundles", "no built-in bundle in this build", fix))
    return checks + [_guarded(f"bundle {name}", partial(_check_bundle, name)) for name in names]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a doctor reports, whatever the ailment
        message = " ".join(f"{type(error).__name__}: {error}".split())
        return Check("error", name, message, "install koilo again into a new environment")


def _check_python() -> Check:
    facts = f"koilo {__version__}, Python {platform.python_version()}, {platform.platform()}"
    return Check("ok", "koilo", facts)


def _check_torch() -> Check:
    import torch

    cpus = os.cpu_count()
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"no GPU, {cpus} CPUs"
    return Check("ok", "torch", f"{torch.__version__}, {device}, {torch.get_num_threads()} threads")


def _check_torchvision() -> Check:
    """A torchvision that is installed and does not load breaks transformers' models."""
    try:
        version = importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        return Check("ok", "torchvision", "not installed (koilo does not need it)")
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # a broken binary raises RuntimeError, OSError or ImportError
        reason = str(error).splitlines()[0]
        return Check(
            "error",
            "torchvision",
            f"{version} is installed but does not load ({reason}); this breaks transformers",
            "pip uninstall torchvision, or install the build that matches torch",
        )
    return Check("ok", "torchvision", version)


def _check_openslide() -> Check:
    import openslide

    library = openslide.__library_version__
    if tuple(int(part) for part in library.split(".")[:3]) < (4, 0, 1):
        fix = "pip install -U 'openslide-bin>=4.0.1'"
        return Check("error", "openslide", f"library {library} has known security holes", fix)
    return Check("ok", "openslide", f"library {library}, Python {openslide.__version__}")


def _check_jpeg() -> Check:
    import numpy as np
    import simplejpeg

    grey = np.full((16, 16, 3), 128, np.uint8)
    back = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(grey, quality=95))
    error = int(np.abs(back.astype(int) - 128).max())
    version = importlib.metadata.version("simplejpeg")
    if error > 2:
        return Check("error", "jpeg", f"simplejpeg {version} decodes wrongly (by {error} levels)")
    return Check("ok", "jpeg", f"simplejpeg {version}")


def _check_memory() -> Check:
    total_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if total_gb < MEMORY_WANTED_GB:
        fix = f"screen with fewer --workers; {MEMORY_WANTED_GB:g} GB or more is comfortable"
        return Check("warning", "memory", f"{total_gb:.1f} GB", fix)
    return Check("ok", "memory", f"{total_gb:.1f} GB")


def _check_disk(out: Path) -> Check:
    try:
        ensure_folder(out)
    except KoiloError as error:
        return Check("error", "disk", str(error), "choose another folder for --out")
    free_gb = shutil.disk_usage(out).free / 2**30
    if free_gb < DISK_WANTED_GB:
        fix = f"free some space: {DISK_WANTED_GB:g} GB is comfortable"
        return Check("warning", "disk", f"{free_gb:.1f} GB free in {out}", fix)
    return Check("ok", "disk", f"{free_gb:.0f} GB free in {out}, which can be written")


def _check_bundle(name: str) -> Check:
    try:
        bundle = load_bundle(name)
    except KoiloError as error:
        return Check("error", f"bundle {name}", str(error), "install koilo again")
    return Check("ok", f"bundle {name}", f"verified, sha256 {bundle.sha256[:16]}")
