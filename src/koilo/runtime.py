"""Device, threads, precision and seeds: decided once, here, for every part that computes."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager

import numpy as np
import torch

from koilo.errors import ConfigError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("fp32", "bf16")


def choose_device(name: str = "auto") -> torch.device:
    """The device to compute on; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: the name is unknown, or CUDA was asked for and there is none.
    """
    if name not in DEVICES:
        raise ConfigError(
            f"Device {name!r} is unknown. Allowed: {', '.join(DEVICES)}. Pass one of them."
        )
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "Device 'cuda' was asked for and this machine shows no CUDA device. "
            "Allowed here: auto, cpu. Pass --device cpu, or install a CUDA build of torch."
        )
    has_cuda = name != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if has_cuda else "cpu")


def set_threads(n_threads: int) -> None:
    """Let torch compute on ``n_threads`` threads; 0 leaves torch's own choice.

    Raises:
        ConfigError: a negative number.
    """
    if n_threads < 0:
        raise ConfigError(
            f"{n_threads} threads were asked for. Allowed: 0 (torch's choice) or more. "
            "Pass --threads 0."
        )
    if n_threads:
        torch.set_num_threads(n_threads)


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators (torch's on every device)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def mix_seed(*parts: int) -> int:
    """One 63-bit seed from several integers: nearby inputs give unrelated seeds.

    >>> mix_seed(0, 1) != mix_seed(1, 0)
    True
    """
    words = np.random.SeedSequence([part % 2**32 for part in parts]).generate_state(2)
    return int(words[0]) << 31 ^ int(words[1])


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context a forward pass runs in: full precision, or bfloat16 where that was chosen.

    Raises:
        ConfigError: the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ConfigError(
            f"Precision {precision!r} is unknown. Allowed: {', '.join(PRECISIONS)}. "
            "Pass one of them."
        )
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """The context of what half precision spoils: pictures, maps of cells, similarities, inverses.

    It lifts `autocast` within the block; what comes in halved stays so until it is cast.
    """
    return torch.autocast(device.type, enabled=False)
