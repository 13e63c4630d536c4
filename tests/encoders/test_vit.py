"""Vision transformers read any crop size and see whole patches only."""

from __future__ import annotations

import pytest
import torch

from koilo.encoders.zoo import build_encoder
from koilo.errors import ConfigError

TINY = {"width": 16, "depth": 1, "heads": 2, "patch_px": 8, "position_px": 32}


@pytest.mark.parametrize("family", ["vit", "dinov2"])
@pytest.mark.parametrize("size", [(32, 32), (48, 48), (70, 33)])
def test_a_map_has_a_token_for_each_whole_patch(family: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    trunk = build_encoder("vit_small", family=family, **TINY).eval()
    images = torch.rand(2, 3, *size) * 255
    with torch.no_grad():
        (tokens,) = trunk(images)
        (cut,) = trunk(images[:, :, : size[0] // 8 * 8, : size[1] // 8 * 8])
    assert tokens.shape == (2, 16, size[0] // 8, size[1] // 8)
    torch.testing.assert_close(tokens, cut)


def test_tokens_lie_where_their_patches_lie() -> None:
    torch.manual_seed(0)
    trunk = build_encoder("vit_small", **{**TINY, "depth": 0}).eval()
    images = torch.zeros(1, 3, 32, 32)
    changed = images.clone()
    changed[:, :, 8:16, 24:32] = 255  # patch row 1, column 3
    with torch.no_grad():
        difference = (trunk(changed)[0] - trunk(images)[0]).abs().sum(1)[0]
    assert torch.nonzero(difference).tolist() == [[1, 3]]


def test_an_image_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="one patch of 8 px"):
        build_encoder("vit_small", **TINY)(torch.zeros(1, 3, 7, 32))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises((ValueError, ConfigError), match="divide the width"):
        build_encoder("vit_small", **{**TINY, "heads": 3})
