"""Where in a crop the cell model sees a lesion."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from koilo.cells.saliency import lesion_maps
from tests.cells.conftest import toy_net
from tests.cells.test_predict import classifier, crops

FOLD = torch.eye(2)


class RedNet(nn.Module):
    """Its one map is how red each 4 x 4 px place is; the more red, the more a lesion."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[-1.0], [1.0]]))

    def trunk(self, images: Tensor) -> list[Tensor]:
        red = (images[:, :1] - images[:, 1:2]).clamp_min(0) / 255
        return [nn.functional.avg_pool2d(red, 4)]

    def pooled(self, maps: list[Tensor]) -> Tensor:
        return maps[-1].mean((2, 3))


def grey(n: int = 2, side: int = 32) -> Tensor:
    return torch.full((n, 3, side, side), 120.0)


def test_the_map_is_highest_where_the_lesion_is_and_nothing_elsewhere() -> None:
    images = grey()
    images[0, 0, 4:8, 20:24] = 250
    images[1, 0, 24:28, 8:12] = 250
    found = lesion_maps(RedNet(), images, FOLD, 0)
    assert found is not None
    assert found.shape == (2, 32, 32)
    for one, (y, x) in zip(found, ((6, 22), (26, 10)), strict=True):
        assert float(one[y, x]) > 0.9
        assert float(one.max()) == 1
        assert float((one >= 0.5).float().mean()) < 0.05
        assert float(one[16, 16]) == 0


def test_a_crop_without_anything_like_a_lesion_has_an_empty_map() -> None:
    found = lesion_maps(RedNet(), grey(1), FOLD, 0)
    assert found is not None
    assert float(found.abs().max()) == 0


def test_what_speaks_for_nilm_is_not_drawn() -> None:
    images = grey(1)
    images[0, 0, 4:8, 20:24] = 250
    found = lesion_maps(RedNet(), images, FOLD, 1)  # red speaks for the class that is no lesion
    assert found is not None
    assert float(found.abs().max()) == 0


def test_a_net_without_maps_cannot_say() -> None:
    net = toy_net()
    assert lesion_maps(nn.Linear(2, 2), grey(1), FOLD, 0) is None
    assert hasattr(net, "pooled")


def test_the_classifier_gives_maps_of_its_crops_and_its_numbers_do_not_change() -> None:
    model, seen = classifier(), crops(70)
    before = model.predict(seen[:3])
    maps = model.lesion_maps(seen)
    assert maps is not None
    assert maps.shape == (70, 32, 32)
    assert maps.min() >= 0
    assert maps.max() <= 1
    alone = model.lesion_maps(seen[66:67])
    assert alone is not None
    np.testing.assert_allclose(alone[0], maps[66], atol=1e-3)
    np.testing.assert_array_equal(before[1], model.predict(seen[:3])[1])


def test_pooled_maps_are_the_features() -> None:
    net = toy_net()
    images = torch.rand(3, 3, 32, 32) * 255
    with torch.no_grad():
        torch.testing.assert_close(net.pooled(net.trunk(images)), net.features(images))
