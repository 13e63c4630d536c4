"""Two processes with gloo do what one does on the batches of both."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from tests.conftest import ROOT
from tests.train.conftest import weights_of
from tests.train.two_processes import main as train_toy


def launch(rank: int, port: int, out: Path) -> subprocess.Popen[str]:
    """One of two processes, with the environment that torchrun would give it."""
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }
    command = [sys.executable, "-m", "tests.train.two_processes", str(out), "1"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_two_processes_give_the_weights_of_one_with_both_batches(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pair = [launch(rank, port, tmp_path / "two") for rank in range(2)]
    train_toy(tmp_path / "one", 2)
    for process in pair:
        error = process.communicate(timeout=80)[1]
        assert process.returncode == 0, error[-2000:]
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in one:
        assert torch.allclose(one[name], two[name], atol=1e-6), name
    assert (tmp_path / "two" / "metrics.json").exists()
    lines = (tmp_path / "two" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 7  # the first process alone writes: six steps and the measurement
