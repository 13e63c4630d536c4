"""Leave a benchmark's figures in docs/results/, where `make results` finds them."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

from koilo.train.record import git_commit

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "results"


def leave(
    name: str, *, title: str, command: str, data: str, seconds: float, **content: Any
) -> None:
    """Write ``docs/results/<name>.json``; ``content`` is figures, tables, controls, notes."""
    page = {
        "name": name,
        "title": title,
        "command": command,
        "commit": git_commit(),
        "data": f"{data}; on {_machine()}",
        "seed": 0,
        "seconds": round(seconds, 1),
        **content,
    }
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(page, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _machine() -> str:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return f"{len(models)} x {models[0]}" if models else platform.processor()
