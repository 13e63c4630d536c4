"""Two processes with gloo do what one does on the batches of both, whatever is kept beside weights.

One process on all batches, uninterrupted, is the reference; the pair is stopped and resumed.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.conftest import ROOT
from tests.train.conftest import assert_same_bits, weights_of
from tests.train.toy_store import make_toy_store
from tests.train.two_processes import KEEPING, TRAINED
from tests.train.two_processes import main as train_toys


def launch(rank: int, port: int, out: Path, store: Path) -> subprocess.Popen[str]:
    """One of two processes, with the environment that torchrun would give it."""
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }
    command = [sys.executable, "-m", "tests.train.two_processes", str(out), str(store)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What one process left and what two left, each on two batches where the one has four."""
    out = tmp_path_factory.mktemp("processes")
    make_toy_store(out / "store")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pair = [launch(rank, port, out / "two", out / "store") for rank in range(2)]
    try:
        train_toys(out / "one", out / "store", 4, stops=False)
        for process in pair:
            error = process.communicate(timeout=80)[1]
            assert process.returncode == 0, error[-2000:]
    finally:
        for process in pair:
            process.kill()  # one that waits for the other would wait for hours
    return out / "one", out / "two"


def states(folders: tuple[Path, Path], method: str) -> tuple[dict[str, Tensor], ...]:
    """All that the model of one process, and of the first of two, ends with.

    Less the self-supervised probe, whose fit multiplies what rounding did to the features.
    """
    probe = {"moco": "net.head.", "dino": "teacher_net.net.head."}.get(method)
    return tuple(
        {name: value for name, value in state.items() if not (probe and name.startswith(probe))}
        for state in (load_file(folder / method / "state_0.safetensors") for folder in folders)
    )


def assert_close(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.allclose(a[name], b[name], atol=1e-5, rtol=1e-4), name


def test_two_processes_give_the_weights_and_statistics_of_one_with_both_batches(
    folders: tuple[Path, Path],
) -> None:
    one, two = (weights_of(folder / "toy") for folder in folders)
    assert_close(one, two)
    assert int(two["1.num_batches_tracked"]) == 6 * 4
    assert (folders[1] / "toy" / "metrics.json").exists()
    lines = (folders[1] / "toy" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 7  # the first process alone writes: six steps and the measurement


@pytest.mark.parametrize("method", TRAINED)
def test_both_processes_keep_the_same_bits(folders: tuple[Path, Path], method: str) -> None:
    first, second = (
        dict(load_file(folders[1] / method / f"state_{rank}.safetensors")) for rank in range(2)
    )
    assert_same_bits(first, second)


@pytest.mark.parametrize("method", KEEPING)
def test_a_resumed_pair_keeps_what_one_process_on_all_batches_keeps(
    folders: tuple[Path, Path], method: str
) -> None:
    assert_close(*states(folders, method))


def test_the_queue_holds_the_keys_of_both_in_the_order_of_one(folders: tuple[Path, Path]) -> None:
    one, two = states(folders, "moco")
    assert int(two["queue.n_put"]) == 4 * 4 * 6  # steps, batches, cells: the queue of 40 is full
    assert torch.allclose(one["queue.keys"], two["queue.keys"], atol=1e-5)


def test_the_status_of_classes_counts_the_cells_of_both(folders: tuple[Path, Path]) -> None:
    one, two = states(folders, "flexmatch")
    assert torch.equal(one["flex.last_call"], two["flex.last_call"])
    assert (two["flex.last_call"] >= 0).any()


def test_the_recent_answers_and_the_centre_are_of_both(folders: tuple[Path, Path]) -> None:
    one, two = states(folders, "crest")
    assert int(two["aligned.n_seen"]) == 4 * 4
    assert torch.allclose(one["aligned.recent"], two["aligned.recent"], atol=1e-6)
    one, two = states(folders, "dino")
    assert torch.allclose(one["criterion.centre"], two["criterion.centre"], atol=1e-6)
    assert two["criterion.centre"].abs().max() > 1e-3


def test_the_next_generation_learns_the_same_pseudo_labels(folders: tuple[Path, Path]) -> None:
    one, two = (
        (folder / "generations" / "generation_1" / "pseudo_labels.csv").read_text()
        for folder in folders
    )
    assert one == two
    assert len(two.splitlines()) > 1
    assert_close(
        *(dict(load_file(folder / "generations" / "cells.safetensors")) for folder in folders)
    )
    metrics = json.loads((folders[1] / "generations" / "metrics.json").read_text())["metrics"]
    assert "macro_f1" in metrics  # not the empty measures of the process that only waits
