"""A sheet of pseudo-labelled crops by rule and class, for a person to look through."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from koilo.datasets.crop_store import CropStore
from koilo.errors import TrainingError
from koilo.files import write_bytes
from koilo.train.batches import batch_rng
from koilo.train.joint import Classes, JointSampler
from koilo.train.recipes.swift import SwiftRecipe, SwiftSettings
from koilo.train.swift_model import SwiftModel

_A_ROW = 12
_MARGIN_PX, _LINE_PX = 6, 18
_MOST_BATCHES = 40
Found = dict[tuple[str, str], list[NDArray[np.uint8]]]


def draw_audit_sheet(
    path: Path,
    model: SwiftModel,
    store: CropStore,
    classes: Classes,
    settings: SwiftSettings,
) -> None:
    """Write a PNG with up to twelve crops of training slides for each rule and class.

    Raises:
        TrainingError: the store cannot be trained on.
        OutputError: the file cannot be written.
    """
    sampler = JointSampler(
        store, classes, n_cells=0, n_slides=max(settings.n_slides, 2), top_k=settings.top_k
    )
    found = collect(SwiftRecipe(model, sampler, settings), classes)
    if not found:
        found = {("no cell was labelled", "at these thresholds"): []}
    buffer = io.BytesIO()
    _sheet(found, store.crop_px).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())


def collect(recipe: SwiftRecipe, classes: Classes) -> Found:
    """Crops (P, P, 3) by rule and class that the model labels now, at most twelve of each."""
    model = recipe.model
    if not isinstance(model, SwiftModel):
        raise TrainingError("An audit sheet needs a SwiftModel.")
    model.eval()
    device = next(model.parameters()).device
    found: Found = {}
    for number in range(_MOST_BATCHES):
        batch = recipe.sampler.draw(batch_rng(recipe.seed, 0, number))
        batch = type(batch)(*(part.to(device) for part in batch))
        bags = batch.bags.float() / 255
        with torch.no_grad():
            z = model.student.features(bags[batch.valid] * 255).float()
        z_bags = z.new_zeros(*batch.valid.shape, z.shape[1])
        z_bags[batch.valid] = z
        z_bags.requires_grad_()
        logits, _ = model.head(z_bags, batch.valid)
        chance = torch.Generator().manual_seed(number)
        given = recipe.label_cells(batch, bags, z_bags, logits, chance)
        for rule, mask in (("slide's map", given.by_cam), ("teacher", given.by_teacher)):
            for slide, cell in torch.nonzero(mask).tolist():
                row = found.setdefault((rule, classes.cells[int(given.labels[slide, cell])]), [])
                if len(row) < _A_ROW:
                    row.append(batch.bags[slide, cell].permute(1, 2, 0).cpu().numpy())
    return dict(sorted(found.items()))


def _sheet(found: Found, crop_px: int) -> Image.Image:
    step = crop_px + _MARGIN_PX
    height = len(found) * (step + _LINE_PX) + _MARGIN_PX
    sheet = Image.new("RGB", (_A_ROW * step + _MARGIN_PX, height), "white")
    draw = ImageDraw.Draw(sheet)
    for line, ((rule, name), crops) in enumerate(found.items()):
        top = line * (step + _LINE_PX)
        draw.text((_MARGIN_PX, top + 3), f"{rule}: {name}", fill="black")
        for place, crop in enumerate(crops):
            left = _MARGIN_PX + place * step
            sheet.paste(Image.fromarray(crop), (left, top + _LINE_PX))
    return sheet
