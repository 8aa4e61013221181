"""Label smoothing as Lipschitz regularisation: theorems 2.3 and B.4 of Ko et al. (2022), numerically."""

from __future__ import annotations

import math

import pytest
import torch

import alasca.functional as AF

CLASSES = 5


def omega(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Omega(W^T h), features [Q] or [N, Q]."""
    return AF.smoothness(features @ weight)


def weights(width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(width, CLASSES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_omega_is_least_at_zero_and_ignores_shifts():
    weight, zero = weights(CLASSES - 1), torch.zeros(CLASSES - 1, dtype=torch.float64, requires_grad=True)
    value = omega(zero, weight)
    assert value.item() == pytest.approx(CLASSES * math.log(CLASSES))
    torch.testing.assert_close(torch.autograd.grad(value, zero)[0], torch.zeros(CLASSES - 1, dtype=torch.float64))
    logits = torch.randn(3, CLASSES, dtype=torch.float64)
    torch.testing.assert_close(AF.smoothness(logits + 7), AF.smoothness(logits))


def test_affine_basis_makes_zero_the_only_minimiser():
    weight = weights(CLASSES - 1)
    hessian = torch.autograd.functional.hessian(lambda h: omega(h, weight), torch.zeros(CLASSES - 1).double())
    assert torch.linalg.eigvalsh(hessian).min() > 0
    features = 2 * torch.randn(20, CLASSES - 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    features.requires_grad_()
    optimizer = torch.optim.LBFGS([features], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")
    optimizer.step(lambda: descend(features, weight, optimizer))
    assert features.detach().abs().max() < 1e-4


def descend(features: torch.Tensor, weight: torch.Tensor, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    optimizer.zero_grad()
    total = omega(features, weight).sum()
    torch.autograd.backward(total)
    return total


def test_wider_features_have_a_flat_space_of_minimisers():
    """For width Q > L - 1 the Hessian is singular, and the minimisers are where all <W_i, h> are equal."""
    width = CLASSES + 3
    weight = weights(width)
    hessian = torch.autograd.functional.hessian(lambda h: omega(h, weight), torch.zeros(width).double())
    assert int((torch.linalg.eigvalsh(hessian) < 1e-9).sum()) == width - (CLASSES - 1)
    differences = (weight[:, 1:] - weight[:, :1]).T
    flat = torch.linalg.svd(differences).Vh[CLASSES - 1 :].T
    equal = flat @ torch.randn(width - CLASSES + 1, dtype=torch.float64)
    assert omega(equal, weight).item() == pytest.approx(CLASSES * math.log(CLASSES))
    assert omega(equal + 0.1 * weight[:, 0], weight).item() > CLASSES * math.log(CLASSES) + 1e-3


def test_derivative_bound_on_a_grid():
    """Eq. 14 for D = 1: h = A sin(pi x / d) is zero on the grid of step d, L_h = A pi^2 / d^2, |h'| <= L_h d."""
    for step in (1.0, 0.1, 0.01):
        amplitude = 0.3
        grid = torch.arange(0, 20, dtype=torch.float64) * step
        grid.requires_grad_()
        values = amplitude * torch.sin(torch.pi * grid / step)
        assert values.abs().max() < 1e-9
        (slope,) = torch.autograd.grad(values.sum(), grid)
        assert (slope.abs() <= amplitude * math.pi**2 / step**2 * step).all()
        assert slope.abs().max().item() == pytest.approx(amplitude * math.pi / step)


def test_mean_value_step_fails_in_more_dimensions():
    """h(x) = x_2 is zero on training points of the first axis, has L_h = 0, and a gradient of norm 1."""
    points = torch.stack([torch.linspace(0, 1, 9), torch.zeros(9)], 1).requires_grad_()
    values = points[:, 1]
    assert values.abs().max() == 0
    assert torch.autograd.grad(values.sum(), points)[0].norm(dim=1).min() == 1


def test_binary_square_loss_decomposition():
    """Eq. 16: (f - (1-a) y)^2 = (1-a)^2 (f - y)^2 + a (2-a) (f - ybar / (2-a))^2 + c, with c free of f."""
    f = torch.linspace(-3, 3, 41, dtype=torch.float64)
    for alpha in (0.1, 0.5, 0.9):
        for y in (-1.0, 1.0):
            smoothed = (1 - alpha) * y
            left = (f - smoothed) ** 2
            right = (1 - alpha) ** 2 * (f - y) ** 2 + alpha * (2 - alpha) * (f - smoothed / (2 - alpha)) ** 2
            rest = left - right
            assert (rest - rest[0]).abs().max() < 1e-12
