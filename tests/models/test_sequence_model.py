"""What all sequence models share: patches, independent channels and the normalisation of windows."""

import pytest
import torch

from src.errors import OptionError
from src.models import create_model

SEQUENCE = ["lstm:basic", "lstm:attention", "lstm:bidirectional", "gru:basic", "gru:residual", "tcn:basic"]
SEQUENCE += ["tcn:residual", "transformer:basic", "transformer:patch", "transformer:inverted"]
CAN_BE_INDEPENDENT = [name for name in SEQUENCE if name != "transformer:inverted"]
NORMALISED = [*SEQUENCE, "linear:nlinear", "linear:dlinear"]


def build(name, spec, **options):
    small = {"hidden_size": 8, "num_layers": 2, "num_heads": 2, "feed_forward": 16}
    torch.manual_seed(0)
    if not name.startswith("transformer"):
        small = {key: small[key] for key in ("hidden_size", "num_layers")}
    if name.startswith("linear"):
        small = {}
    return create_model(name, spec, {**small, **options}).double().eval()


def slow_tokens(window, patch, stride):
    """Patches cut one by one from the newest step backwards; the first value stands for what is before the window."""
    time = len(window)
    ends = []
    end = time
    while True:
        ends.append(end)
        if end - patch <= 0:
            break
        end -= stride
    tokens = []
    for end in reversed(ends):
        steps = [window[max(0, step)] for step in range(end - patch, end)]
        tokens.append(torch.cat(steps))
    return torch.stack(tokens)


@pytest.mark.parametrize("name", ["lstm:basic", "transformer:patch"])
@pytest.mark.parametrize("window", [24, 29])
@pytest.mark.parametrize("patch", [1, 2, 5, 8, 24])
def test_tokens_are_patches(name, window, patch, make_data):
    data = make_data(window=window)
    model = build(name, data.spec, patch=patch, channels="mixed")
    stride = max(1, patch // 2) if name == "transformer:patch" else patch
    windows = torch.randn(4, window, 3)
    tokens = model.to_tokens(windows)
    expected = torch.stack([slow_tokens(row, patch, stride) for row in windows])
    assert tokens.shape == (4, model.token_count, model.token_size) == expected.shape
    assert torch.equal(tokens, expected)


@pytest.mark.parametrize("name", CAN_BE_INDEPENDENT)
@pytest.mark.parametrize("patch", [1, 7])
def test_independent_channels_are_run_one_by_one(name, patch, make_data):
    """The same weights on each target's channel alone give the same forecast."""
    data = make_data(target="c,a", horizon=3, transform="level")
    options = {"channels": "independent", "patch": patch}
    together = build(name, data.spec, **options)
    inputs = data.test.select(range(4)).inputs.double()
    forecast = together(inputs)
    assert forecast.shape == (4, 3, 2)
    for place, target in enumerate("ca"):
        one = make_data(target=target, features=target, horizon=3, transform="level")
        alone = build(name, one.spec, **options)
        state = together.state_dict()
        for key in ("normaliser.weight", "normaliser.bias"):
            state[key] = state[key][place : place + 1]
        alone.load_state_dict(state)
        channel = inputs[:, :, [data.spec.target_channels[place]]]
        torch.testing.assert_close(alone(channel)[:, :, 0], forecast[:, :, place], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", CAN_BE_INDEPENDENT)
def test_independent_channels_read_nothing_else(name, make_data):
    data = make_data(target="c,a", horizon=3, transform="level")
    model = build(name, data.spec, channels="independent")
    inputs = data.test.select(range(4)).inputs.double()
    before = model(inputs)
    inputs[:, :, 1] += 5.0  # no target
    assert torch.equal(model(inputs), before)
    inputs[:, :, 0] += torch.randn(24)
    after = model(inputs)
    assert torch.equal(after[:, :, 0], before[:, :, 0])
    assert not torch.equal(after[:, :, 1], before[:, :, 1])


@pytest.mark.parametrize("name", NORMALISED)
def test_revin_forecast_shifts_and_scales_along(name, make_data):
    """A window in other units: the forecast is the same in those units."""
    data = make_data(target="c,a", horizon=3, transform="level")
    model = build(name, data.spec, normalisation="revin")
    torch.nn.init.normal_(model.normaliser.weight, 1.0, 0.2)
    torch.nn.init.normal_(model.normaliser.bias, 0.0, 0.2)
    inputs = 1000 * torch.randn(4, 24, 3, dtype=torch.float64)  # large, beside the epsilon under the root
    scale = torch.tensor([0.7, 3.0, 5.0], dtype=torch.float64)
    shift = torch.tensor([1e4, -7.0, 300.0], dtype=torch.float64)
    channels = list(data.spec.target_channels)
    expected = model(inputs) * scale[channels] + shift[channels]
    torch.testing.assert_close(model(inputs * scale + shift), expected, rtol=1e-7, atol=1e-5)


@pytest.mark.parametrize("name", NORMALISED)
def test_last_value_forecast_shifts_along(name, make_data):
    data = make_data(target="c,a", horizon=3, transform="level")
    model = build(name, data.spec, normalisation="last")
    inputs = torch.randn(4, 24, 3, dtype=torch.float64)
    shift = torch.tensor([10.0, -7.0, 3.0], dtype=torch.float64)
    expected = model(inputs) + shift[list(data.spec.target_channels)]
    torch.testing.assert_close(model(inputs + shift), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SEQUENCE)
def test_auto_normalises_levels_only(name, make_data):
    for transform, kind in (("level", "revin"), ("return", "none"), ("log-return", "none")):
        assert build(name, make_data(transform=transform).spec).normaliser.kind == kind


def test_patch_longer_than_the_window_is_refused(make_data):
    with pytest.raises(OptionError, match="patch must be at most the look-back window of 24, but got 25"):
        build("lstm:basic", make_data().spec, patch=25)


@pytest.mark.parametrize(("option", "value"), [("channels", "independent"), ("patch", 4)])
def test_inverted_takes_whole_channels(option, value, make_data):
    with pytest.raises(OptionError, match="transformer:inverted takes each whole channel as a token"):
        build("transformer:inverted", make_data().spec, **{option: value})
