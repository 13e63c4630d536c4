"""Device, threads, seeds and precision are decided in one place, and refused there."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from koilo.errors import ConfigError
from koilo.runtime import autocast, choose_device, mix_seed, seed_all, set_threads


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_cuda, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_cuda=has_cuda: has_cuda)
        assert choose_device("auto").type == expected
        assert choose_device("cpu").type == "cpu"


def test_cuda_without_a_device_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="--device cpu"):
        choose_device("cuda")


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ConfigError, match="auto, cpu, cuda"):
        choose_device("gpu")
    with pytest.raises(ConfigError, match="fp32, bf16"):
        autocast(torch.device("cpu"), "fp16")
    with pytest.raises(ConfigError, match="-1 threads"):
        set_threads(-1)


def test_a_seed_fixes_all_three_generators() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), torch.rand(()).item()

    seed_all(3)
    first = draw()
    assert draw() != first
    seed_all(3)
    assert draw() == first


def test_mixed_seeds_are_apart_in_order_and_value() -> None:
    seeds = {mix_seed(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_bf16_is_used_only_where_it_was_chosen() -> None:
    layer = torch.nn.Linear(2, 2)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(torch.device("cpu"), precision):
            assert layer(torch.ones(1, 2)).dtype == dtype
