"""Fixtures that every part's tests share."""

from __future__ import annotations

import os
from pathlib import Path

# One thread a worker: two workers on two cores must not fight over them.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest  # noqa: E402  after the thread settings, which numpy reads when imported

ROOT = Path(__file__).resolve().parents[1]


def skip_or_fail(reason: str) -> None:
    """Skip for want of something outside the clone; fail where KOILO_STRICT asks for all of it."""
    if os.environ.get("KOILO_STRICT"):
        pytest.fail(f"KOILO_STRICT is set, and {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data: KOILO_DATA, by default ``../shared/data`` beside the root."""
    folder = Path(os.environ.get("KOILO_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        skip_or_fail(f"the real data is not at {folder} (set KOILO_DATA)")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Debian's Chromium."""
    import shutil

    path = shutil.which("chromium")
    if path is None:
        skip_or_fail("chromium is not installed (apt-get install chromium)")
    assert path is not None
    return path
