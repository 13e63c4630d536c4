"""Tell a slide that is still being copied from one that has arrived."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size in bytes and time of change in ns of each file that makes up a slide."""

RECENT_S = 60.0
"""A slide changed within this time may still be growing, and is looked at twice."""

PAUSE_S = 2.0
"""Time between the two looks: a copy that goes on changes size or time within it."""


class Arrivals:
    """Looks at all slides once when a run starts, and at each again when its turn comes."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._stamps = {path: stamp(path) for path in paths}
        self._looked_at = time.time()

    def is_growing(self, path: Path) -> bool:
        """True where ``path`` changes between two looks; waits only for a slide just changed."""
        first, looked_at = self._stamps.get(path), self._looked_at
        now = stamp(path)
        if first != now:
            first, looked_at = now, time.time()
            self._stamps[path] = now
        if not is_recent(now):
            return False
        time.sleep(max(0.0, looked_at + PAUSE_S - time.time()))
        return stamp(path) != first


def is_recent(seen: Stamp) -> bool:
    """True where a file was changed within the last ``RECENT_S`` seconds, or in the future."""
    changed_ns = max((mtime_ns for _, _, mtime_ns in seen), default=0)
    return time.time() - changed_ns / 1e9 < RECENT_S


def stamp(path: Path) -> Stamp:
    """Sizes and times of a slide's file, of a DICOM folder's files, of an MRXS slide's data.

    Empty where there is no such file: its reading says so.
    """
    members = [path, *_members(path), *_members(path.with_suffix(""))]
    seen = []
    for member in members:
        try:
            facts = member.stat()
        except OSError:
            continue
        seen.append((member.name, facts.st_size, facts.st_mtime_ns))
    return tuple(seen)


def _members(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
