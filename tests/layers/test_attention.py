"""Attention against PyTorch's own module."""

import pytest
import torch
from torch import nn

from src.layers.attention import MultiHeadAttention, attention_weights


def make(size=8, heads=2):
    torch.manual_seed(0)
    ours = MultiHeadAttention(size, heads).double()
    theirs = nn.MultiheadAttention(size, heads, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        theirs.out_proj.load_state_dict(ours.output.state_dict())
    return ours, theirs


@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize("queries", [1, 5])
def test_equals_torch_attention(heads, queries):
    """Outputs and weights, with fewer queries than keys."""
    ours, theirs = make(heads=heads)
    tokens = torch.randn(3, 5, 8, dtype=torch.float64)
    asked = tokens[:, -queries:]
    expected, weights = theirs(asked, tokens, tokens, average_attn_weights=False)
    torch.testing.assert_close(ours(asked, tokens), expected)
    with attention_weights(nn.Sequential(ours)) as collected:
        torch.testing.assert_close(ours(asked, tokens), expected)
    assert list(collected) == ["0"]
    torch.testing.assert_close(collected["0"], weights)


def test_asking_leaves_gradients_alone():
    ours, _ = make()
    tokens = torch.randn(3, 5, 8, dtype=torch.float64)
    gradients = []
    for asked in (False, True):
        ours.zero_grad()
        if asked:
            with attention_weights(ours):
                ours(tokens, tokens).square().sum().backward()
        else:
            ours(tokens, tokens).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in ours.parameters()])
    torch.testing.assert_close(*gradients)
    assert ours.weights is None
