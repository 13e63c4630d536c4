from __future__ import annotations

import json

import pytest
import torch

from koilo.bundle import load_bundle, write_bundle
from koilo.errors import BundleError
from koilo.pipeline import load_models
from tests.pipeline import toys

CPU = torch.device("cpu")


def variant(bundle, folder, change):
    """The toy bundle with a changed description and the same tensors, hashes right."""
    spec = json.loads(json.dumps(bundle.spec))
    del spec["format"], spec["sha256"]
    change(spec)
    tensors = {stage: bundle.tensors(stage) for stage in spec["stages"]}
    return write_bundle(folder, spec, tensors, "")


def test_a_bundle_that_fits_together_is_loaded(bundle):
    models = load_models(load_bundle(bundle.folder), CPU)
    assert (models.threshold("slide"), models.threshold("field")) == (0.5, 0.3)
    assert models.top_k == 1024


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["stages"]["head"]["config"].update(d_in=4),
        lambda spec: spec["stages"]["head"].update(classes=["NILM", "LSIL+HSIL+SCC"]),
        lambda spec: spec["stages"]["cells"].update(classes=["NILM", "ASC-US", "LSIL", "HSIL"]),
        lambda spec: spec["stages"]["cells"].update(model="resnet-9000"),
        lambda spec: spec["stages"]["detector"].update(top_k=0),
        lambda spec: spec["stages"]["detector"].pop("mpp"),
        lambda spec: spec["operating_points"].pop("sens95_field"),
        lambda spec: spec["operating_points"]["sens95"].pop("threshold"),
    ],
    ids=["head width", "head classes", "cell classes", "cell model", "top_k", "mpp", "field point",
         "no threshold"],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_any_slide(bundle, tmp_path, change):
    try:
        broken = variant(bundle, tmp_path / "b", change)
    except BundleError:
        return  # refused even earlier, when it was written
    with pytest.raises(BundleError) as caught:
        load_models(broken, CPU)
    assert "\n" not in str(caught.value)


def test_the_toy_really_is_what_the_tests_take_it_for(models):
    crops = toys.draw_cells((48, 48), 1, 1)[None]
    _, p = models.classifier.predict(crops)
    assert p.argmax() == toys.CELLS.index("HSIL")
