from __future__ import annotations

import json

import cv2
import pytest
import torch

from koilo.bundle import load_bundle, write_bundle
from koilo.errors import BundleError, SlideError
from koilo.manifest import SlideEntry
from koilo.pipeline import load_models, read_one
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
        lambda spec: spec["operating_points"].clear(),
        lambda spec: spec["operating_points"]["sens95"].pop("threshold"),
    ],
    ids=["head width", "head classes", "cell classes", "cell model", "top_k", "mpp", "no point",
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


def test_a_bundle_without_a_threshold_for_fields_judges_slides_alone(bundle, slides, tmp_path):
    only = variant(
        bundle, tmp_path / "b", lambda spec: spec["operating_points"].pop("sens95_field")
    )
    models = load_models(only, CPU)
    assert models.kinds == ("slide",)
    assert read_one(SlideEntry("s", slides["lesion"]), models).result.threshold == 0.5
    cv2.imwrite(str(tmp_path / "field.png"), toys.draw_cells((300, 300), 4, 1))
    with pytest.raises(SlideError, match="locked for slides only"):
        read_one(SlideEntry("f", tmp_path / "field.png", mpp=0.5), models)


def test_the_toy_really_is_what_the_tests_take_it_for(models):
    crops = toys.draw_cells((48, 48), 1, 1)[None]
    _, p = models.classifier.predict(crops)
    assert p.argmax() == toys.CELLS.index("HSIL")
