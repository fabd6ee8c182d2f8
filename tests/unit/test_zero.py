"""The zero convolution's gradients, against autograd (FACTS: at W = B = 0)."""

import torch

from hackamore.controls.zero import ZeroConv2d


def test_three_gradients_at_zero():
    zero = ZeroConv2d(3, 5)
    x = torch.randn(2, 3, 4, 6, requires_grad=True)
    y = zero(x)
    assert torch.equal(y, torch.zeros(2, 5, 4, 6))
    y.sum().backward()
    assert torch.equal(zero.bias.grad, torch.full((5,), 2.0 * 4 * 6))
    assert torch.equal(x.grad, torch.zeros_like(x))
    expected = x.detach().sum((0, 2, 3)).expand(5, 3)
    torch.testing.assert_close(zero.weight.grad[..., 0, 0], expected)


def test_input_gradient_is_the_weight_once_it_moved():
    zero = ZeroConv2d(3, 5)
    with torch.no_grad():
        zero.weight.normal_()
    x = torch.randn(1, 3, 2, 2, requires_grad=True)
    zero(x)[0, 4, 1, 0].backward()
    torch.testing.assert_close(x.grad[0, :, 1, 0], zero.weight[4, :, 0, 0].detach())
