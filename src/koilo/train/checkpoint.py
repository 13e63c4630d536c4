"""A run's checkpoint: one file, written atomically, loadable without running any code in it."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from koilo.errors import TrainingError
from koilo.files import write_bytes

FORMAT = 1


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and plain values) to ``path``; the previous file stays on failure.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    # torch's own file writer turns a full disk into a RuntimeError, so bytes are written by us.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_bytes(path, buffer.getvalue())


def read_checkpoint(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The state at ``path``, None where there is no such file.

    Raises:
        TrainingError: the file is damaged, or was written by another configuration.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path} is not a checkpoint that can be read. Allowed: a file written by koilo train. "
            "Remove it to start afresh, or choose another --out."
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise TrainingError(
            f"{path} is not a checkpoint of format {FORMAT}. Only such a file can be resumed. "
            "Remove it to start afresh, or choose another --out."
        )
    if state["fingerprint"] != fingerprint:
        raise TrainingError(
            f"{path} belongs to another configuration, recipe or data "
            f"({state['fingerprint'][:12]}, this run is {fingerprint[:12]}). A run resumes only "
            "its own. Choose another --out, or go back to the settings in run.json."
        )
    return dict(state)


def write_weights(path: Path, model: nn.Module, metadata: dict[str, str]) -> None:
    """Write a model's weights and buffers as safetensors, in their own precision.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save

    tensors = {
        # Cloned because safetensors refuses tensors that share memory (tied weights).
        name: value.detach().cpu().contiguous().clone()
        for name, value in model.state_dict().items()
    }
    write_bytes(path, save(tensors, metadata))
