"""Part slides into train, validation and test by case, block or centre, and refuse any leak."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from koilo.errors import ManifestError
from koilo.files import sha256_file
from koilo.manifest import SlideEntry

SPLITS = ("train", "validation", "test")
UNITS = ("case", "block", "centre")


def assign_splits(
    entries: Sequence[SlideEntry],
    *,
    by: str,
    shares: Sequence[float] = (0.7, 0.15, 0.15),
    block_size: int = 10,
    seed: int = 0,
) -> tuple[SlideEntry, ...]:
    """Give every slide a split; what belongs together stays together.

    Groups are drawn in random order, large ones first, each into the split that lacks most slides.

    Args:
        entries: the slides, in the order of the manifest.
        by: ``case`` or ``centre`` (as the manifest names them), or ``block``: runs of
            ``block_size`` slides that follow each other, for sets whose numbers run by case.
        shares: of slides in train, validation and test; they are scaled to sum to 1.
        block_size: slides in a block.
        seed: of the draw.

    Raises:
        ManifestError: a slide has no case or centre, there are fewer groups than splits, or the
            result leaks (the same picture in two groups).
    """
    groups = _groups(entries, by, block_size)
    wanted = np.array(shares, dtype=float)
    if len(wanted) != len(SPLITS) or (wanted < 0).any() or wanted.sum() <= 0:
        raise ManifestError(
            f"Shares {', '.join(f'{s:g}' for s in shares)} part nothing. Allowed: three numbers "
            "of 0 or more for train, validation and test. Pass such as 0.7 0.15 0.15."
        )
    members: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[group].append(row)
    if len(members) < (wanted > 0).sum():
        raise ManifestError(
            f"There are {len(members)} {by}s for {(wanted > 0).sum()} splits. Each split needs "
            f"one at least. Split by something finer than {by}, or give a share of 0."
        )
    splits = _fill(list(members.values()), wanted / wanted.sum() * len(entries), seed)
    result = tuple(replace(e, split=SPLITS[s]) for e, s in zip(entries, splits, strict=True))
    refuse_leaks(result, by=by, block_size=block_size)
    return result


def refuse_leaks(entries: Sequence[SlideEntry], *, by: str | None, block_size: int = 10) -> None:
    """Refuse a manifest in which one case, block or centre, or one picture, lies in two splits.

    Slides without a split take no part; ``by`` None looks at pictures and twins alone. A picture is
    the same by its path, by its bytes, or where one slide says to be another's twin (``twin_of``).

    Raises:
        ManifestError: naming what leaks.
    """
    chosen = [entry for entry in entries if entry.split]
    splits = [str(entry.split) for entry in chosen]
    if by is not None:
        groups = _groups(entries, by, block_size)
        of_chosen = [group for entry, group in zip(entries, groups, strict=True) if entry.split]
        refuse_shared_groups(of_chosen, splits, what=by)
    refuse_shared_groups(_pictures(chosen), splits, what="picture")
    by_id = {entry.slide_id: entry for entry in chosen}
    twins = [
        f"{entry.slide_id} ({entry.split}) and {entry.twin_of} ({by_id[entry.twin_of].split})"
        for entry in chosen
        if entry.twin_of in by_id and by_id[entry.twin_of].split != entry.split
    ]
    if twins:
        raise ManifestError(
            f"The splits leak: twins lie apart: {'; '.join(twins[:8])}. "
            "A slide and its twin stay in one split. Mend the manifest's split column."
        )


def refuse_shared_groups(groups: Sequence[str], splits: Sequence[str], *, what: str) -> None:
    """Refuse where one group (a case, a block, a picture) has members in two splits.

    Args:
        groups: of each slide or bag.
        splits: of each slide or bag, in the same order.
        what: a group in one word, for the message.

    Raises:
        ManifestError: naming the groups that leak.

    >>> refuse_shared_groups(["a", "a", "b"], ["train", "train", "test"], what="case")
    """
    seen: dict[str, set[str]] = defaultdict(set)
    for group, split in zip(groups, splits, strict=True):
        seen[group].add(split)
    leaks = sorted(group for group, where in seen.items() if len(where) > 1)
    if leaks:
        shown = "; ".join(f"{group} in {' and '.join(sorted(seen[group]))}" for group in leaks[:8])
        more = f"; and {len(leaks) - 8} more" if len(leaks) > 8 else ""
        raise ManifestError(
            f"The splits leak: {what} {shown}{more}. A {what} may lie in one split only. "
            "Mend the split column, or let koilo split anew."
        )


def _fill(groups: list[list[int]], wanted: np.ndarray, seed: int) -> list[int]:
    """Split number of each row: large groups first, each to the split that lacks most."""
    order = np.random.default_rng(seed).permutation(len(groups))
    ranked = sorted((groups[i] for i in order), key=len, reverse=True)
    lacking = wanted.copy()
    splits = [0] * sum(map(len, groups))
    empty = {int(i) for i in np.flatnonzero(wanted > 0)}
    for number, group in enumerate(ranked):
        # The last groups go to splits that have none yet, however large the others' lack.
        must = empty if len(ranked) - number <= len(empty) else range(len(wanted))
        target = max(must, key=lambda i: (wanted[i] > 0, lacking[i]))
        empty.discard(target)
        lacking[target] -= len(group)
        for row in group:
            splits[row] = target
    return splits


def _groups(entries: Sequence[SlideEntry], by: str, block_size: int) -> list[str]:
    if by == "block":
        return [f"block {number // block_size + 1}" for number in range(len(entries))]
    if by not in UNITS:
        raise ManifestError(f"Slides cannot be split by {by!r}. Allowed: {', '.join(UNITS)}.")
    field = "case_id" if by == "case" else "centre"
    without = [entry.slide_id for entry in entries if not getattr(entry, field)]
    if without:
        raise ManifestError(
            f"{len(without)} slides have no {field}: {', '.join(without[:8])}. All need one to be "
            f"split by {by}. Fill the column, or split by block where numbers run by case."
        )
    return [str(getattr(entry, field)) for entry in entries]


def _pictures(entries: Sequence[SlideEntry]) -> list[str]:
    """What each slide shows, by content; only files of equal size are read."""
    sizes: dict[int, list[int]] = defaultdict(list)
    names = [str(entry.path.resolve()) for entry in entries]
    for row, entry in enumerate(entries):
        if entry.path.is_file():
            sizes[entry.path.stat().st_size].append(row)
    for rows in _several(sizes.values()):
        first: dict[str, str] = {}
        for row in rows:
            digest = sha256_file(entries[row].path)
            names[row] = first.setdefault(digest, names[row])
    return names


def _several(groups: Iterable[list[int]]) -> list[list[int]]:
    return [group for group in groups if len(group) > 1]
