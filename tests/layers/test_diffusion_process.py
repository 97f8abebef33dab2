"""The noise schedules and what follows from them, against closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from src.layers.diffusion_process import NOISE_SCHEDULES, PREDICTIONS, DiffusionProcess, signal_shares

SCHEDULES = pytest.mark.parametrize("schedule", NOISE_SCHEDULES)


def batch(seed=0, count=7, shape=(3, 2)):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(count, *shape, generator=generator) for _ in range(2))


# ---- schedules


@SCHEDULES
@pytest.mark.parametrize("timesteps", [2, 10, 250, 1000])
def test_schedules_fall_from_nearly_all_to_nearly_nothing(schedule, timesteps):
    shares = signal_shares(schedule, timesteps)
    assert shares.shape == (timesteps,) and shares.dtype == torch.float64
    assert (shares.diff() < 0).all() and shares.min() > 0 and shares.max() < 1
    assert shares[-1] < 0.01
    if timesteps >= 250:
        assert shares[0] > 0.99


def test_linear_schedule_is_the_published_one():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    assert torch.allclose(signal_shares("linear", 1000), (1 - betas).cumprod(0), rtol=1e-12)
    # as much noise in all with fewer steps: the logarithm of what is left is about the same
    ratio = signal_shares("linear", 250)[-1].log() / signal_shares("linear", 1000)[-1].log()
    assert ratio == pytest.approx(1, abs=0.05)


def test_cosine_schedule_is_the_published_one():
    shares = signal_shares("cosine", 1000)
    wanted = [math.cos(((t + 1) / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(999)]
    wanted = torch.tensor(wanted, dtype=torch.float64) / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert torch.allclose(shares[:999], wanted, rtol=1e-9)
    assert shares[999] / shares[998] == pytest.approx(0.001)  # the last step takes no more than .999


def test_sigmoid_schedule_is_symmetric():
    shares = signal_shares("sigmoid", 1000)
    assert shares[499] == pytest.approx(0.5, abs=1e-9)
    assert torch.allclose(shares[:499] + shares[500:999].flip(0), torch.ones(499, dtype=torch.float64), atol=1e-9)


# ---- forwards


@SCHEDULES
def test_noisy_samples_have_the_moments_of_the_process(schedule):
    process = DiffusionProcess(schedule, 50)
    generator = torch.Generator().manual_seed(1)
    count = 200_000
    for timestep in (0, 20, 49):
        noise = torch.randn(count, 1, generator=generator)
        noisy = process.add_noise(torch.full((count, 1), 1.5), noise, torch.full((count,), timestep))
        left = float(process.alphas_cumprod[timestep])
        assert float(noisy.mean()) == pytest.approx(1.5 * math.sqrt(left), abs=0.01)
        assert float(noisy.var()) == pytest.approx(1 - left, abs=0.01)


@SCHEDULES
def test_one_step_after_another_is_the_whole_way_at_once(schedule):
    """Noise added by every single step adds up to what the closed form says."""
    process = DiffusionProcess(schedule, 20)
    shares = torch.cat([torch.ones(1), process.alphas_cumprod])
    signal, variance = 1.0, 0.0
    for timestep in range(20):
        kept = float(shares[timestep + 1] / shares[timestep])
        signal, variance = signal * math.sqrt(kept), variance * kept + 1 - kept
        assert signal**2 == pytest.approx(float(shares[timestep + 1]), rel=1e-4)
        assert variance == pytest.approx(1 - float(shares[timestep + 1]), rel=1e-3)


def test_signal_to_noise_ratio_falls():
    process = DiffusionProcess("cosine", 100)
    snr = process.snr(torch.arange(100))
    assert (snr.diff() < 0).all()
    left = process.alphas_cumprod[40]
    assert float(snr[40]) == pytest.approx(float(left / (1 - left)), rel=1e-5)


def test_timesteps_are_drawn_from_every_part():
    process = DiffusionProcess("cosine", 1000)
    torch.manual_seed(0)
    for count in (1, 8, 32):
        drawn = process.drawn_timesteps(count, torch.device("cpu"))
        assert sorted((drawn * count // 1000).tolist()) == list(range(count))
    assert process.drawn_timesteps(32, torch.device("cpu")).tolist() != sorted(drawn.tolist())
    many = torch.cat([process.drawn_timesteps(10, torch.device("cpu")) for _ in range(500)])
    assert many.min() < 5 and many.max() > 994
    few = DiffusionProcess("cosine", 2).drawn_timesteps(50, torch.device("cpu"))
    assert few.bincount().tolist() == [25, 25]


# ---- what networks say


@SCHEDULES
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_what_is_said_is_turned_into_samples_and_noise(schedule, prediction):
    process = DiffusionProcess(schedule, 100)
    samples, noise = batch()
    timesteps = torch.tensor([0, 1, 10, 30, 50, 70, 90])
    noisy = process.add_noise(samples, noise, timesteps)
    said = process.target(prediction, samples, noise, timesteps)
    assert torch.allclose(process.to_sample(prediction, said, noisy, timesteps), samples, atol=1e-4)
    assert torch.allclose(process.to_noise(samples, noisy, timesteps), noise, atol=1e-3)


def test_v_is_what_salimans_and_ho_say():
    process = DiffusionProcess("cosine", 100)
    samples, noise = batch()
    timesteps = torch.full((7,), 33)
    angle = math.acos(float(process.alphas_cumprod[33].sqrt()))
    wanted = math.cos(angle) * noise - math.sin(angle) * samples
    assert torch.allclose(process.target("v", samples, noise, timesteps), wanted, atol=1e-5)


@given(timestep=st.integers(0, 99), gamma=st.floats(0.5, 20), error=st.floats(0.01, 2))
def test_min_snr_weights_the_same_error_alike_whatever_is_predicted(timestep, gamma, error):
    """An error of the sample is another one of noise or v, and the weight makes up for it."""
    process = DiffusionProcess("cosine", 100)
    now = torch.tensor([timestep])
    samples, noise = batch(count=1)
    noisy = process.add_noise(samples, noise, now)
    wrong = samples + error
    wrong_noise = process.to_noise(wrong, noisy, now)
    weighted = []
    for prediction in PREDICTIONS:
        off = process.target(prediction, wrong, wrong_noise, now) - process.target(prediction, samples, noise, now)
        weighted.append(float(off.square().mean() * process.loss_weights(prediction, "min_snr", gamma, now)))
    snr = float(process.snr(now))
    assert weighted == pytest.approx([error**2 * min(snr, gamma)] * 3, rel=2e-2)
    assert float(process.loss_weights("v", "none", gamma, now)) == 1


# ---- backwards


@SCHEDULES
def test_posterior_of_neighbours_is_the_published_one(schedule):
    """Ho et al. 2020, equations 6 and 7."""
    process = DiffusionProcess(schedule, 50)
    samples, noise = batch(count=1)
    shares = torch.cat([torch.ones(1, dtype=torch.float64), signal_shares(schedule, 50)])
    for timestep in (0, 1, 25, 49):
        now = torch.tensor([timestep])
        noisy = process.add_noise(samples, noise, now)
        mean, variance = process.posterior(samples, noisy, now, now - 1)
        left, before = shares[timestep + 1], shares[timestep]
        beta = 1 - left / before
        of_sample = before.sqrt() * beta / (1 - left)
        of_noisy = (1 - beta).sqrt() * (1 - before) / (1 - left)
        assert torch.allclose(mean, (of_sample * samples + of_noisy * noisy).float(), atol=1e-4)
        assert float(variance) == pytest.approx(float((1 - before) / (1 - left) * beta), rel=1e-3, abs=1e-7)


@given(timestep=st.integers(1, 99), gap=st.integers(1, 99), schedule=st.sampled_from(NOISE_SCHEDULES))
def test_posterior_over_any_gap_is_bayes_rule(timestep, gap, schedule):
    """Products of normal densities: what came before, and the noise that came after it."""
    before = max(-1, timestep - gap)
    process = DiffusionProcess(schedule, 100)
    shares = torch.cat([torch.ones(1, dtype=torch.float64), signal_shares(schedule, 100)])
    left, earlier = float(shares[timestep + 1]), float(shares[before + 1])
    kept = math.sqrt(left / earlier)
    sample, noisy = 0.7, -0.4
    mean, variance = process.posterior(
        torch.tensor([[sample]]), torch.tensor([[noisy]]), torch.tensor([timestep]), torch.tensor([before])
    )
    if before == -1:
        assert float(mean) == pytest.approx(sample, abs=1e-4) and float(variance) == pytest.approx(0, abs=1e-6)
        return
    prior_precision, noise_precision = 1 / (1 - earlier), kept**2 / (1 - kept**2)
    wanted = 1 / (prior_precision + noise_precision)
    assert float(variance) == pytest.approx(wanted, rel=2e-3, abs=1e-6)
    centre = wanted * (prior_precision * math.sqrt(earlier) * sample + noise_precision * noisy / kept)
    assert float(mean) == pytest.approx(centre, rel=2e-3, abs=1e-3)


def test_steps_back_end_at_the_sample():
    process = DiffusionProcess("cosine", 50)
    samples, noise = batch(count=1)
    now, end = torch.tensor([30]), torch.tensor([-1])
    noisy = process.add_noise(samples, noise, now)
    assert torch.allclose(process.step_back(samples, noisy, now, end), samples, atol=1e-5)
    assert torch.allclose(process.step_back(samples, noisy, now, end, torch.randn(1, 3, 2)), samples, atol=1e-5)


def test_straight_steps_stay_on_the_line_of_sample_and_noise():
    """With the truth about sample and noise, DDIM visits what the process itself makes of them, in both directions."""
    process = DiffusionProcess("sigmoid", 50)
    samples, noise = batch(count=1)
    for start, end in ((40, 10), (10, 40)):  # backwards, and the inversion
        now, then = torch.tensor([start]), torch.tensor([end])
        noisy = process.add_noise(samples, noise, now)
        arrived = process.step_back(samples, noisy, now, then)
        assert torch.allclose(arrived, process.add_noise(samples, noise, then), atol=1e-4)
