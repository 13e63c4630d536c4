"""The one training loop: steps, accumulates, averages, schedules, logs, saves and resumes.

A recipe owns the mathematics, the loop the mechanics. A recipe never calls ``backward``, ``step``
or ``save`` and never sets its model's mode. All that a run has learnt lives in ``recipe.model``
(a teacher is a submodule, a queue a buffer), so that a checkpoint holds it.

A run that was killed goes on from its last checkpoint, also in mid-epoch, and on the CPU ends with
the same bits: batches are a function of (epoch, index), and all global random generators are
seeded anew at each update from (seed, update). Mixed precision comes in through
``LoopConfig.precision``. Launched by ``torchrun`` or ``accelerate launch``, each process takes
every n-th batch and gradients are averaged (`processes.py`), BatchNorm's running statistics joined
(`norms.py`): N processes do what one does with N batches accumulated. What is drawn from global
generators (dropout) differs, and so do losses over a joint count. All end with the same model.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import nullcontext
from dataclasses import dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from koilo.config import fingerprint, to_dict
from koilo.errors import TrainingError
from koilo.files import ensure_folder, folder_lock, write_json
from koilo.progress import progress
from koilo.runtime import autocast, choose_device, mix_seed, seed_all, set_threads
from koilo.train.checkpoint import read_checkpoint, write_checkpoint, write_weights
from koilo.train.ema import MovingAverage
from koilo.train.norms import joint_statistics
from koilo.train.processes import Processes, from_first
from koilo.train.recipe import LoopConfig, Progress, Recipe
from koilo.train.record import TrainLog, hash_files, write_run
from koilo.train.schedule import lr_factor, parameter_groups


@dataclass(frozen=True)
class FitResult:
    """What a finished run gives back; ``recipe.model`` holds the saved weights as well."""

    weights: Path
    metrics: dict[str, float]
    steps: int
    seconds: float


def fit(
    recipe: Recipe,
    config: LoopConfig,
    out: Path,
    *,
    settings: Any = None,
    data: Sequence[Path] = (),
) -> FitResult:
    """Train ``recipe.model`` and leave ``model.safetensors`` and the run's records in ``out``.

    A checkpoint in ``out`` is resumed. ``settings`` (the recipe's own configuration: its dataclass,
    or a mapping of plain values) and the hashes of the ``data`` files are recorded; a checkpoint of
    others is refused.

    Raises:
        TrainingError: a loss or gradient is not finite, the recipe gives no batch or no gradient,
            or the checkpoint in ``out`` belongs to another run.
        OutputError: ``out`` cannot be written, is full, or another run writes there.
    """
    ensure_folder(out)
    set_threads(config.threads)
    processes = Processes(choose_device(config.device))
    with folder_lock(out) if processes.is_first else nullcontext():
        return _Run(recipe, config, out, settings, data, processes).run()


class _Run:
    """One run in progress: the state that a checkpoint holds, and what moves it."""

    def __init__(
        self,
        recipe: Recipe,
        config: LoopConfig,
        out: Path,
        settings: Any,
        data: Sequence[Path],
        processes: Processes,
    ) -> None:
        self.recipe, self.config, self.out = recipe, config, out
        self.processes, self.device = processes, processes.device
        self.model = recipe.model.to(self.device)
        self.optimizer = _build_optimizer(self.model, config)
        self.ema = MovingAverage(self.model, config.ema, config.young) if config.ema else None
        self.step = self.epoch = self.index = 0
        self.seconds = 0.0
        hashes = hash_files(data)
        name = type(recipe).__qualname__
        self.fingerprint = _fingerprint(name, config, settings, hashes)
        self._resume()
        processes.share(self.model)
        if processes.is_first:
            write_run(out / "run.json", config=_record(name, config, settings), data=hashes)
            self.log = TrainLog(out / "log.jsonl", from_step=self.step)

    def run(self) -> FitResult:
        """Step to the end, measure, and write the weights."""
        started, before = time.perf_counter(), self.seconds
        batches = self._batches()
        left = self.config.steps - self.step
        bar = progress(f"training in {self.out}", left, unit="steps")
        with bar if self.processes.is_first else nullcontext(lambda _amount: None) as advance:
            while self.step < self.config.steps:
                record = self._update(batches)
                self.seconds = before + time.perf_counter() - started
                if self.processes.is_first:
                    self._after_update(record)
                self.processes.wait()
                advance(1)
        if self.ema is not None:
            self.model.load_state_dict(self.ema.shadow)
        metrics = from_first(lambda: self._evaluate(averaged=False))
        self.processes.share(self.model)  # measuring may have fitted a probe
        weights = self.out / "model.safetensors"
        if self.processes.is_first:
            write_weights(weights, self.model, {"fingerprint": self.fingerprint})
            seconds = round(before + time.perf_counter() - started, 1)
            summary = {"metrics": metrics, "steps": self.step, "seconds": seconds}
            write_json(self.out / "metrics.json", summary)
        self.processes.wait()
        return FitResult(weights, metrics, self.step, before + time.perf_counter() - started)

    def _update(self, batches: Iterator[Any]) -> dict[str, float]:
        """One optimiser update from ``accumulation`` batches; gives what is logged."""
        config = self.config
        own = (self.processes.index,) if self.processes.index else ()
        seed_all(mix_seed(config.seed, self.step, *own))
        self.model.train()
        factor = lr_factor(self.step, config.steps, warmup=config.warmup, schedule=config.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, float] = {}
        for batch in itertools.islice(batches, config.accumulation):
            with joint_statistics(self.model):
                values = self._backward(batch)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value / config.accumulation
        sums = self.processes.average(sums)
        self._require_finite(sums)
        self.processes.average_gradients(self._parameters())
        norm = self._clip()
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.model, self.step)
        self.step += 1
        with torch.no_grad():
            self.recipe.after_step(self._progress())
        return {**sums, "grad_norm": norm, "lr": config.lr * factor}

    def _backward(self, batch: Any) -> dict[str, float]:
        """Forward and backward of one batch."""
        with autocast(self.device, self.config.precision):
            losses = self.recipe.losses(_to_device(batch, self.device), self._progress())
        with_gradient = [value for value in losses.values() if value.requires_grad]
        if not with_gradient:
            raise TrainingError(
                f"At step {self.step} no loss of {', '.join(losses) or 'none'} carries a gradient. "
                "A recipe gives at least one that does. Check its losses()."
            )
        total = torch.stack([value.float() for value in with_gradient]).sum()
        (total / self.config.accumulation).backward()
        values = {**losses, "loss": total}
        # Read in one go and after the backward pass: each number read makes a GPU wait.
        told = torch.stack([value.detach().to(self.device).float() for value in values.values()])
        return dict(zip(values, told.tolist(), strict=True))

    def _clip(self) -> float:
        """Clip the gradient and give its norm before clipping."""
        limit = self.config.clip or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters(), limit))
        self._require_finite({"gradient norm": norm})
        return norm

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _require_finite(self, values: Mapping[str, float]) -> None:
        bad = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise TrainingError(
                f"Training stopped at step {self.step}: {', '.join(bad)}. Losses and gradients "
                f"must be finite. The last good checkpoint in {self.out} is whole: lower the "
                "learning rate (with a new --out) or check the data."
            )

    def _after_update(self, record: dict[str, float]) -> None:
        """Log, measure and save where their turn has come."""
        config, last = self.config, self.step == self.config.steps
        if last or self.step % config.log_every == 0:
            self.log.add(self.step, epoch=self.epoch, seconds=round(self.seconds, 2), **record)
        if config.evaluate_every and self.step % config.evaluate_every == 0 and not last:
            self._evaluate(averaged=True)
        if last or self.step % config.checkpoint_every == 0:
            self._save()

    def _evaluate(self, *, averaged: bool) -> dict[str, float]:
        """The recipe's measures; ``averaged`` lends it the moving average meanwhile."""
        self.model.eval()
        with torch.no_grad():
            if averaged and self.ema is not None:
                with self.ema.applied(self.model):
                    metrics = dict(self.recipe.evaluate())
            else:
                metrics = dict(self.recipe.evaluate())
        self.log.add(self.step, evaluate=metrics)
        return metrics

    def _batches(self) -> Iterator[Any]:
        """Batches without end from where the run stands; each process makes its own alone."""
        makers = self._makers()
        while True:
            group = [next(makers) for _ in range(self.processes.count)]
            yield group[self.processes.index]()

    def _makers(self) -> Iterator[Callable[[], Any]]:
        """What makes each batch, in order; keeps ``epoch`` and ``index`` current."""
        while True:
            epoch_batches = self.recipe.batches(self.epoch)
            empty = self.index == 0
            for make in _from_index(epoch_batches, self.index):
                empty = False
                # Counted before the batch is used: a checkpoint is written only after its update.
                self.index += 1
                yield make
            if empty:
                raise TrainingError(
                    f"Epoch {self.epoch} has no batch. At least one is needed. "
                    "Check the data and the batch size."
                )
            self.epoch, self.index = self.epoch + 1, 0

    def _progress(self) -> Progress:
        return Progress(step=self.step, steps=self.config.steps, epoch=self.epoch)

    def _save(self) -> None:
        state = {
            "fingerprint": self.fingerprint,
            "step": self.step,
            "epoch": self.epoch,
            "index": self.index,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "ema": self.ema.shadow if self.ema is not None else {},
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(self.out / "checkpoint.pt", state)

    def _resume(self) -> None:
        path = self.out / "checkpoint.pt"
        state = read_checkpoint(path, self.fingerprint)
        if state is None:
            return
        self.step, self.epoch, self.index = state["step"], state["epoch"], state["index"]
        self.seconds = state["seconds"]
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.ema is not None:
                self.ema.load(state["ema"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise TrainingError(
                f"{path} does not fit the model of this run, though its settings do: another "
                "version of koilo wrote it. Choose another --out, or go back to that version."
            ) from error


def _build_optimizer(model: torch.nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    """AdamW, or Adam with its decay as an L2 term on every parameter, as the paper has it."""
    as_loss = config.optimizer == "adam"
    groups = parameter_groups(
        model,
        lr=config.lr,
        weight_decay=config.weight_decay,
        lr_scales=config.lr_scales,
        decay_vectors=as_loss,
    )
    kind = torch.optim.Adam if as_loss else torch.optim.AdamW
    return kind(groups, lr=config.lr)


def _fingerprint(name: str, config: LoopConfig, settings: Any, hashes: Mapping[str, str]) -> str:
    """Key of a run: every setting that touches the result, and the data (not its place)."""
    if is_dataclass(settings):
        own = fingerprint(settings)
    else:
        own = json.dumps(settings or {}, sort_keys=True, default=str)
    return fingerprint(config, name, own, *sorted(hashes.values()))


def _record(name: str, config: LoopConfig, settings: Any) -> dict[str, Any]:
    """The run's whole configuration as plain values."""
    own = to_dict(settings) if is_dataclass(settings) else dict(settings or {})
    return {"recipe": name, "loop": to_dict(config), "settings": own}


def _from_index(batches: Iterable[Any], index: int) -> Iterator[Callable[[], Any]]:
    """What makes the batches from number ``index`` on; an iterator's are made as it runs on."""
    make = getattr(batches, "__getitem__", None)
    if make is not None and isinstance(batches, Sized):
        return (partial(make, i) for i in range(index, len(batches)))
    return (partial(_itself, batch) for batch in itertools.islice(batches, index, None))


def _itself(batch: Any) -> Any:
    return batch


def _to_device(batch: Any, device: torch.device) -> Any:
    """The same structure with every tensor on ``device``."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: _to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_to_device(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(_to_device(value, device) for value in batch)
    return batch
