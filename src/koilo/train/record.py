"""What a run leaves beside its weights: run.json (how it was made) and log.jsonl (how it went)."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from koilo.errors import OutputError, TrainingError
from koilo.files import sha256_file, write_json, write_text

_PACKAGES = ("koilo", "torch", "transformers", "numpy", "opencv-python-headless", "safetensors")


def write_run(path: Path, *, config: Mapping[str, Any], data: Mapping[str, str]) -> None:
    """Write ``run.json``: the configuration, the environment, the commit and the data's hashes.

    Raises:
        OutputError: the folder cannot be written.
    """
    write_json(
        path,
        {
            "config": config,
            "data_sha256": data,
            "git": git_commit(),
            "environment": describe_environment(),
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


def hash_files(paths: Iterable[Path]) -> dict[str, str]:
    """Path as given -> SHA-256 of the file.

    Raises:
        TrainingError: a file is missing or cannot be read.
    """
    hashes = {}
    for path in paths:
        try:
            hashes[str(path)] = sha256_file(path)
        except OSError as error:
            raise TrainingError(
                f"The data file {path} cannot be read: {error.strerror}. A run records the hash "
                "of every file it trains on. Correct the path."
            ) from error
    return hashes


def git_commit() -> str:
    """The commit this code runs from, ``+changes`` where files differ; ``unknown`` without git."""
    folder = Path(__file__).parent

    def ask(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        tracked = ask("ls-files", "--error-unmatch", Path(__file__).name)
        changed = ask("status", "--porcelain", "--untracked-files=no", ".")
        return ask("rev-parse", "HEAD") + ("+changes" if changed else "") if tracked else "unknown"
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def describe_environment() -> dict[str, Any]:
    """Python, platform, devices, threads and the versions of the libraries that matter."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": versions,
    }


class TrainLog:
    """Lines of JSON in ``log.jsonl``, one a record, each with its ``step``."""

    def __init__(self, path: Path, *, from_step: int) -> None:
        """Open for appending; lines after ``from_step`` (a killed run's) are dropped first.

        Raises:
            OutputError: the folder cannot be written.
        """
        self.path = path
        kept = [line for line in _read_records(path) if line["step"] <= from_step]
        write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def add(self, step: int, **record: Any) -> None:
        """Append one record.

        Raises:
            OutputError: the disk is full.
        """
        try:
            with open(self.path, "a", encoding="utf-8") as handle:
                handle.write(json.dumps({"step": step, **record}) + "\n")
        except OSError as error:
            raise OutputError(
                f"Cannot write {self.path}: {error.strerror}. The last checkpoint is whole. "
                "Free some space and run the same command again."
            ) from error


def _read_records(path: Path) -> list[dict[str, Any]]:
    """Whole lines of an existing log; a line cut by a kill is left out."""
    records = []
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records
