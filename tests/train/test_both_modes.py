"""BatchNorm answers differently in its two modes, LayerNorm does not; nothing is left behind."""

from __future__ import annotations

import torch
from torch import nn

from koilo.train.both_modes import in_both_modes


def net(norm: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), norm, nn.Dropout(0.5), nn.Linear(4, 2))


IMAGES = torch.randn(8, 3, generator=torch.Generator().manual_seed(1)) * 3 + 2


def test_batchnorm_gives_the_batch_s_own_and_the_average_s_answer() -> None:
    model = net(nn.BatchNorm1d(4)).eval()
    in_train, in_eval = in_both_modes(model, lambda: model.eval()(IMAGES))
    torch.testing.assert_close(in_eval, model(IMAGES))
    x = model[0](IMAGES)
    x = (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + model[1].eps)
    torch.testing.assert_close(in_train, model[3](x * model[1].weight + model[1].bias))
    assert not torch.allclose(in_train, in_eval)


def test_layernorm_gives_the_same_answer_twice() -> None:
    model = net(nn.LayerNorm(4)).train()
    in_train, in_eval = in_both_modes(model, lambda: model(IMAGES))
    assert torch.equal(in_train, in_eval)


def test_the_model_is_left_as_it_was() -> None:
    model = net(nn.BatchNorm1d(4)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    in_both_modes(model, lambda: model.eval()(IMAGES))
    assert all(module.training for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
