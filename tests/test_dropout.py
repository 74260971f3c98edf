"""The fast dropout is dropout."""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.distributed import parallelise
from ipet.dropout import Dropout, dropout, replace_dropout

N = 400_003  # not a multiple of four


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_elements_are_dropped_at_random_and_the_mean_stays(p, dtype):
    torch.manual_seed(0)
    y = dropout(torch.ones(N, dtype=dtype), p)
    assert y.dtype == dtype and set(y.unique().tolist()) == {0, torch.tensor(1 / (1 - p), dtype=dtype).item()}
    dropped = (y == 0).double()
    error = (p * (1 - p) / N) ** 0.5
    assert abs(dropped.mean() - p) < 4 * error
    for lag in (1, 2, 3, 4, 5, 16):  # neighbours share 64 random bits
        both = (dropped[lag:] * dropped[:-lag]).mean()
        assert abs(both - p * p) < 6 * error


def test_the_gradient_goes_where_the_output_came_from():
    torch.manual_seed(0)
    x = torch.randn(8, 33, 5, dtype=torch.float64, requires_grad=True)
    y = dropout(x, 0.25)
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(y, x * grad)
    assert set(grad.unique().tolist()) == {0, 1 / 0.75}


def test_torchs_seed_repeats_it_and_each_call_draws_anew():
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append([dropout(torch.ones(1000), 0.5) for _ in range(2)])
    assert torch.equal(draws[0][0], draws[1][0]) and torch.equal(draws[0][1], draws[1][1])
    assert not torch.equal(draws[0][0], draws[0][1])


def test_its_ends():
    x = torch.randn(7)
    assert dropout(x, 0.0) is x
    assert torch.equal(dropout(x, 1.0), torch.zeros(7))
    assert dropout(torch.ones(0, 3), 0.5).shape == (0, 3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dropout(1.5)


def test_it_takes_the_place_of_every_dropout_of_a_model():
    model = build_wav2vec2("tiny").eval()
    found = [name for name, module in model.named_modules() if type(module) is nn.Dropout]
    x = 0.1 * torch.randn(2, 4_000)
    before, keys = model(x), list(model.state_dict())
    replace_dropout(model)
    assert found and all(type(model.get_submodule(name)) is Dropout for name in found)
    assert not any(type(module) is nn.Dropout for module in model.modules())
    assert torch.equal(model(x), before) and list(model.state_dict()) == keys
    assert not any(module.training for module in model.modules())
    model.train()
    assert not torch.equal(model(x), model(x))


def test_torch_does_not_warn_of_a_search_for_what_no_dropped_layer_left_unused(capfd):
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        layers = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
        parallel = parallelise(layers, torch.device("cpu"), drops_layers=True)
        for _ in range(2):  # no layer is dropped
            parallel(torch.ones(2, 3)).sum().backward()
        torch.testing.assert_close(layers[1].bias.grad, torch.full((2,), 4.0))  # 2 clips, 2 steps
        assert capfd.readouterr().err == ""
    finally:
        dist.destroy_process_group()
