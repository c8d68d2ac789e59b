"""Activations with gradients of their own: the same as PyTorch's."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from lmu_quantize.train.elementwise import Dropout, RoundToGrid, normalised_relu


@pytest.mark.parametrize("residual", [False, True])
def test_normalised_relu_is_batch_normalisation_sum_and_relu(residual: bool) -> None:
    torch.manual_seed(0)
    values = [torch.randn(6, 500, requires_grad=True) for _ in range(1 + residual)]
    norms = [nn.BatchNorm1d(6), nn.BatchNorm1d(6)]
    for norm in norms:
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(-1, 2, 6))
            norm.bias.copy_(torch.linspace(-0.5, 0.5, 6))
    weights = torch.randn(6, 500)
    total = norms[0](values[0][None])[0]
    expected = functional.relu(total + values[1] if residual else total)
    result = normalised_relu(norms[1], *values)
    torch.testing.assert_close(result, expected)
    wanted = torch.autograd.grad((expected * weights).sum(), [*values, *norms[0].parameters()])
    found = torch.autograd.grad((result * weights).sum(), [*values, *norms[1].parameters()])
    for mine, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    for mine, theirs in zip(norms[1].buffers(), list(norms[0].buffers())[:2], strict=False):
        torch.testing.assert_close(mine, theirs)
    for norm in norms:
        norm.eval()
    total = norms[1](values[0][None])[0]
    torch.testing.assert_close(
        normalised_relu(norms[1], *values), functional.relu(total + values[1] if residual else total)
    )


@pytest.mark.parametrize(("low", "high"), [(-8, 7), (0, 15)])
def test_rounding_to_a_grid_is_fake_quantization(low: int, high: int) -> None:
    values = torch.linspace(-3, 3, 1001, requires_grad=True)
    frac = torch.tensor(2, dtype=torch.int32)
    result = RoundToGrid.apply(values, frac, low, high)
    expected = torch.fake_quantize_per_tensor_affine(values, 0.25, 0, low, high)
    torch.testing.assert_close(result, expected, rtol=0, atol=0)
    gradients = [torch.autograd.grad(each.sum(), values)[0] for each in (result, expected)]
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_dropout_drops_its_part_of_the_elements_and_keeps_the_mean() -> None:
    dropout, values = Dropout(0.25), torch.ones(40, 50, 60).permute(2, 0, 1)
    torch.manual_seed(1)
    first, second = dropout(values), dropout(values)
    torch.manual_seed(1)
    assert torch.equal(dropout(values), first)
    assert not torch.equal(first, second)
    assert set(first.unique().tolist()) == {0.0, torch.tensor(256 / 192).item()}
    assert abs(float((first == 0).float().mean()) - 0.25) < 0.01
    assert first.stride() == values.stride()
    dropout.eval()
    assert dropout(values) is values
