"""Every encoder of the dictionary keeps the same promises."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from koilo.encoders.folding import fold_batchnorm
from koilo.encoders.zoo import ENCODERS, build_encoder
from koilo.errors import ConfigError

SMALL = {
    "nanodet": {"n_stages": 2},
    "nanodet_frozen_norm": {"n_stages": 2},
    "plain": {"widths": (8, 16), "blocks": (1, 1)},
    **{
        name: {"widths": (8, 12, 16, 20), "depths": (1, 1, 1, 1), "stem": 8}
        for name in ENCODERS
        if name.startswith("resnet")
    },
    **{
        name: {"width": 16, "depth": 2, "heads": 2, "patch_px": 8, "position_px": 32}
        for name in ENCODERS
        if name.startswith(("vit", "dinov2"))
    },
    **{
        name: {"widths": (8, 12, 16, 20), "depths": (1, 1, 2, 1)}
        for name in ENCODERS
        if name.startswith("convnext")
    },
}


@pytest.fixture(params=sorted(ENCODERS))
def encoder(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return build_encoder(request.param, **SMALL[request.param]).eval()


def pictures(n: int = 2, side: int = 64) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1)) * 255


def test_maps_have_the_channels_and_strides_promised(encoder: nn.Module) -> None:
    with torch.no_grad():
        maps = encoder(pictures())
    assert len(maps) == len(encoder.channels) == len(encoder.strides)
    for each, channels, stride in zip(maps, encoder.channels, encoder.strides, strict=True):
        assert each.shape == (2, channels, 64 // stride, 64 // stride)


def test_every_weight_gets_a_finite_gradient(encoder: nn.Module) -> None:
    encoder.train()
    sum(each.square().mean() for each in encoder(pictures(4))).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_a_batch_gives_what_its_pictures_give_alone(encoder: nn.Module) -> None:
    images = pictures(3)
    with torch.no_grad():
        together = encoder(images)[-1]
        alone = torch.cat([encoder(image[None])[-1] for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_saved_weights_give_the_same_maps(
    encoder: nn.Module, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["encoder"]
    other = build_encoder(name, **SMALL[name]).eval()
    other.load_state_dict(load(save(dict(encoder.state_dict()))))
    with torch.no_grad():
        torch.testing.assert_close(other(pictures())[-1], encoder(pictures())[-1])


def test_folding_batchnorm_away_changes_nothing(encoder: nn.Module) -> None:
    encoder.train()
    for _ in range(3):  # statistics that are not those of a fresh net
        encoder(pictures(4) + 20)
    encoder.eval()
    with torch.no_grad():
        before = encoder(pictures())
        after = fold_batchnorm(encoder)(pictures())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(new, old, rtol=1e-3, atol=1e-4)


def test_a_net_in_training_is_not_folded() -> None:
    with pytest.raises(ValueError, match="eval mode"):
        fold_batchnorm(build_encoder("plain", **SMALL["plain"]))


@pytest.mark.parametrize(
    ("name", "widths"), [("convnext_atto", (40, 320)), ("convnext_tiny", (96, 768))]
)
def test_convnext_has_its_published_widths(name: str, widths: tuple[int, int]) -> None:
    assert (ENCODERS[name].config["widths"][0], ENCODERS[name].config["widths"][-1]) == widths


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'nanodet'"):
        build_encoder("nanodett")


def test_an_unknown_argument_is_refused_with_those_allowed() -> None:
    with pytest.raises(ConfigError, match="n_stages"):
        build_encoder("nanodet", stages=3)


def test_widths_and_blocks_must_agree() -> None:
    with pytest.raises(ConfigError, match="as many of each"):
        build_encoder("plain", widths=(8, 16), blocks=(1,))


def test_nanodet_has_one_to_four_stages() -> None:
    with pytest.raises(ConfigError, match="1 to 4"):
        build_encoder("nanodet", n_stages=5)
