"""Samplers recover what a perfect denoiser knows; guidance and noise are what they promise."""

import itertools
import math

import pytest
import torch
from scipy import stats

from src.errors import OptionError
from src.layers.diffusion_process import DiffusionProcess
from src.layers.samplers import NoiseSource, Sampling, draw_samples, guided, sample_seeds, timestep_path

CPU = torch.device("cpu")
CENTRES, DEVIATIONS, SHARES = torch.tensor([-1.0, 1.5]), torch.tensor([0.3, 0.5]), torch.tensor([0.3, 0.7])


def mixture_denoiser(process):
    """What noisy draws of a mixture of two normal distributions were, on average: in closed form."""

    def denoise(noisy, timesteps):
        signal, deviation = process.signal_and_noise(timesteps, noisy)
        variance = (signal * DEVIATIONS).square() + deviation.square()  # [draws, 2]
        chances = torch.softmax(
            SHARES.log() - variance.log() / 2 - (noisy - signal * CENTRES).square() / (2 * variance), -1
        )
        means = CENTRES + signal * DEVIATIONS.square() / variance * (noisy - signal * CENTRES)
        return (chances * means).sum(-1, keepdim=True)

    return denoise


def mixture_cdf(value):
    return sum(
        share * stats.norm.cdf(value, centre, deviation)
        for share, centre, deviation in zip(SHARES.tolist(), CENTRES.tolist(), DEVIATIONS.tolist(), strict=True)
    )


class Together:
    """All draws from one generator, which is quicker than one for each."""

    def __init__(self, count, seed=0):
        self.generator, self.count = torch.Generator().manual_seed(seed), count

    def draw(self):
        return torch.randn(self.count, 1, generator=self.generator)


@pytest.mark.parametrize("sampling", [Sampling("ddpm", None), Sampling("ddpm", 100), Sampling("ddim", 100)], ids=str)
@pytest.mark.parametrize("schedule", ["cosine", "linear", "sigmoid"])
def test_a_mixture_is_recovered(schedule, sampling):
    process = DiffusionProcess(schedule, 400)
    drawn = draw_samples(process, mixture_denoiser(process), Together(4000), sampling)[:, 0]
    assert stats.kstest(drawn.numpy(), mixture_cdf).pvalue > 0.01
    shifted = stats.kstest(drawn.numpy() + 0.1, mixture_cdf).pvalue
    assert shifted < 1e-4  # the test would notice


def test_ddpm_with_all_steps_is_the_chain_of_posteriors():
    process = DiffusionProcess("cosine", 30)
    denoise = mixture_denoiser(process)
    drawn = draw_samples(process, denoise, Together(50, seed=4), Sampling("ddpm", None))
    source = Together(50, seed=4)
    noisy = source.draw()
    for timestep in reversed(range(30)):
        now = torch.full((50,), timestep)
        mean, variance = process.posterior(denoise(noisy, now), noisy, now, now - 1)
        noisy = mean + variance.sqrt() * source.draw() if timestep else mean
    assert torch.allclose(drawn, noisy, atol=1e-6)


def test_ddim_can_be_walked_back():
    """Inversion: from samples to their noise by the same straight steps and back, the nearer the finer they are."""
    start = Together(200).draw()
    errors = []
    for timesteps in (200, 800):
        process = DiffusionProcess("cosine", timesteps)
        denoise, path = mixture_denoiser(process), timestep_path(timesteps, None)

        def walk(values, stations, process=process, denoise=denoise):
            for here, there in itertools.pairwise(stations):
                now, then = torch.full((200,), here), torch.full((200,), there)
                values = process.step_back(denoise(values, now), values, now, then)
            return values

        noise = walk(start, path[::-1])
        assert noise.std() == pytest.approx(1, abs=0.2)
        errors.append(float((walk(noise, path) - start).abs().mean()))
    assert errors[0] < 0.1 and errors[1] < errors[0] / 2


def test_bounds_cut_what_is_denoised():
    process = DiffusionProcess("cosine", 20)
    drawn = draw_samples(process, lambda noisy, _: noisy * 0 + 7, Together(3), Sampling("ddim", 5), bounds=(-1, 1))
    assert torch.allclose(drawn, torch.ones(3, 1), atol=1e-5)


def test_paths_go_evenly_from_the_last_timestep_to_the_first():
    assert timestep_path(1000, 5) == [999, 749, 500, 250, 0]
    assert timestep_path(10, None) == list(range(9, -1, -1)) == timestep_path(10, 99)
    assert timestep_path(10, 1) == [9]
    assert timestep_path(2, 2) == [1, 0]


def test_guidance():
    def with_it(noisy, _):
        return noisy + 1

    def without(noisy, _):
        return noisy - 1

    def never(noisy, _):
        raise AssertionError("must not be asked")

    noisy, timesteps = torch.zeros(2, 1), torch.zeros(2, dtype=torch.long)
    assert guided(with_it, never, 1.0)(noisy, timesteps).tolist() == [[1], [1]]
    assert guided(never, without, 0.0)(noisy, timesteps).tolist() == [[-1], [-1]]
    assert guided(with_it, without, 3.0)(noisy, timesteps).tolist() == [[5], [5]]
    half = guided(with_it, without, 0.5)(noisy, timesteps)
    assert half.tolist() == [[0], [0]]


def test_guiding_samples_is_guiding_noise():
    process = DiffusionProcess("cosine", 50)
    noisy, with_it, without = (torch.randn(4, 3, generator=torch.Generator().manual_seed(n)) for n in range(3))
    now = torch.full((4,), 20)
    of_samples = guided(lambda *_: with_it, lambda *_: without, 2.5)(noisy, now)
    noise_with, noise_without = (process.to_noise(said, noisy, now) for said in (with_it, without))
    of_noise = noise_without + 2.5 * (noise_with - noise_without)
    assert torch.allclose(process.to_noise(of_samples, noisy, now), of_noise, atol=1e-4)


def test_noise_of_a_sample_does_not_depend_on_its_companions():
    shape = (2, 3)
    alone = NoiseSource([11], shape, CPU)
    among = NoiseSource([7, 11, 13], shape, CPU)
    for _ in range(3):
        own, all_of_them = alone.draw(), among.draw()
        assert torch.equal(own[0], all_of_them[1])
        assert not torch.equal(all_of_them[0], all_of_them[2])
    assert len({*sample_seeds(0, 100), *sample_seeds(1, 100)}) == 200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampler": "euler"}, "one of ddim, ddpm, but got 'euler'"),
        ({"steps": 0}, "at least 1, but got 0"),
        ({"guidance": -1.0}, "0 or more, but got -1.0"),
        ({"guidance": math.nan}, "0 or more, but got nan"),
    ],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(OptionError, match="must be") as refusal:
        Sampling(**options)
    assert said in str(refusal.value)
