"""A run that was killed goes on from its checkpoint and ends with the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from koilo.train import LoopConfig, Progress, fit
from tests.train.conftest import ToyRecipe, assert_same_bits, weights_of

CONFIG = LoopConfig(
    steps=14, lr=1e-2, ema=0.9, accumulation=2, device="cpu", checkpoint_every=3, log_every=1
)


class Stopped(ToyRecipe):
    """Dies, as a program would, after update 8: in mid-epoch, past the checkpoint of 6."""

    def after_step(self, progress: Progress) -> None:
        if progress.step == 8:
            raise KeyboardInterrupt


@pytest.mark.parametrize("as_iterator", [False, True], ids=["indexed", "iterator"])
def test_a_stopped_run_resumes_in_mid_epoch_to_the_same_bits(
    tmp_path: Path, as_iterator: bool
) -> None:
    fit(ToyRecipe(), CONFIG, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(Stopped(as_iterator=as_iterator), CONFIG, tmp_path / "stopped")
    # The same fingerprint: a recipe's name is part of it.
    resumed = type("Stopped", (ToyRecipe,), {})(as_iterator=as_iterator)
    assert fit(resumed, CONFIG, tmp_path / "stopped").steps == 14
    assert resumed.seen[0] == (2, 2)  # update 6 begins with batch 12 of epochs of 5
    assert_same_bits(weights_of(tmp_path / "stopped"), weights_of(tmp_path / "whole"))
    steps = [
        [json.loads(line)["step"] for line in (tmp_path / name / "log.jsonl").open()]
        for name in ("whole", "stopped")
    ]
    assert steps[0] == steps[1]


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    first = fit(ToyRecipe(), CONFIG, tmp_path)
    again = ToyRecipe()
    assert fit(again, CONFIG, tmp_path).metrics == first.metrics
    assert again.seen == []


_SCRIPT = """
import sys, time
from pathlib import Path
from tests.train.conftest import ToyRecipe
from koilo.train import LoopConfig, fit

class Slow(ToyRecipe):
    def after_step(self, progress):
        if progress.step >= 4:
            Path(sys.argv[1], "reached").write_text("4")
            time.sleep(60)

Slow.__qualname__ = "ToyRecipe"
fit(Slow(), LoopConfig(**eval(sys.argv[2])), Path(sys.argv[1]))
"""


def test_a_run_killed_with_kill_9_resumes_to_the_same_bits(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=9, threads=1)
    fit(ToyRecipe(), config, tmp_path / "whole")
    arguments = repr({name: getattr(config, name) for name in config.__dataclass_fields__})
    killed = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(tmp_path / "killed"), arguments],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "reached").exists() and time.monotonic() < deadline:
        assert killed.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    fit(ToyRecipe(), config, tmp_path / "killed")
    assert_same_bits(weights_of(tmp_path / "killed"), weights_of(tmp_path / "whole"))
