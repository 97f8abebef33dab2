"""The conditions that belong to one illness of a training each, and know what else to look at."""

from __future__ import annotations

import math
from statistics import fmean, median

from .conditions import Look, Sighting, below_start, harmless, number
from .history import slope_per_value

# --- gradients, weights, steps ----------------------------------------------------------------------------------------


def vanishing(look: Look) -> Sighting | None:
    """A layer's gradient is below ``absolute``, or below ``factor`` of its start although that of others is not.

    Where the loss itself has come down below ``factor`` of its start, small gradients are success.
    """
    loss, total = look.history[look["loss"]], look.history[look["total"]]
    if loss.count > 3 and median(loss.last(3)) < look["factor"] * loss.start_median(3):
        return None
    if look.value < look["absolute"]:
        return Sighting(f"was {number(look.value)}, below {number(look['absolute'])}", -look.value)
    samples = look["min_samples"]
    if look.series.count <= samples or total.count <= samples:
        return None
    start, all_start = look.series.start_median(samples), total.start_median(samples)
    if start <= 0 or look.value >= look["factor"] * start:
        return None
    if all_start > 0 and look.value / start >= look["factor"] * median(total.last(3)) / all_start:
        return None  # all gradients became smaller together
    return Sighting(f"was {number(look.value)}, {look.value / start:.2g} of its start ({number(start)})", -look.value)


def uniform(look: Look) -> Sighting | None:
    """The variation over layers is below ``limit``, and there are at least three ``layers`` that learn."""
    if look.value >= look["limit"]:
        return None
    layers = [tag for tag in look.history if tag.startswith(look["layers"]) and look.history[tag].last(1) > [0.0]]
    if len(layers) < 3:
        return None
    return Sighting(f"was {number(look.value)} over {len(layers)} layers, below {number(look['limit'])}", -look.value)


def large_steps(look: Look) -> Sighting | None:
    """A layer's update is above ``limit``; at once, if half of all ``layers`` have one above ``sure_limit``.

    A single layer may begin with weights next to zero, of which a first step is many times as large.
    """
    if look.value <= look["limit"]:
        return None
    others = [look.history[tag].values[-1] for tag in look.history if tag.startswith(look["layers"])]
    is_sure = median(others) > look["sure_limit"]
    return Sighting(f"was {number(look.value)}, above {number(look['limit'])}", look.value, is_sure=is_sure)


def unchanged(look: Look) -> Sighting | None:
    """The layer's update is below ``limit`` although the learning rate is not next to nothing."""
    rate = look.history[look["learning_rate"]]
    if look.value >= look["limit"] or (rate.count and rate.values[-1] < 1e-3 * rate.highest):
        return None
    return Sighting(f"was {number(look.value)}, below {number(look['limit'])}: the weights do not change", -look.value)


def diverging(look: Look) -> Sighting | None:
    """The loss is above ``factor`` times its median before, and ``start_share`` of its start.

    At the start, it is above ``start_factor`` times all before.
    """
    if look.series.count == 1:
        return None
    before = look.series.before_last(look.streak + 1)
    if not look.streak:
        look.memory["at_start"] = float(len(before) < look["min_samples"])
    at_start = bool(look.memory["at_start"])
    centre = look.remembered("reference", lambda: max(before) if at_start else median(before))
    limit = centre * look["start_factor"] if at_start else max(centre * look["factor"], harmless(look))
    if centre <= 0 or look.value <= limit:
        return None
    return Sighting(f"was {number(look.value)}, {look.value / centre:.3g} times {number(centre)} before", look.value)


# --- what takes several metrics ---------------------------------------------------------------------------------------


def overfitting(look: Look) -> Sighting | None:
    """The validation loss is past its best epoch by ``patience``, above ``rise`` times it; training fell by ``fall``.

    That much happens in healthy runs, and early stopping keeps their best weights: info. It is the rule's severity
    where the model learns its samples by heart: validation over training loss is above ``gap`` and ``growth`` times
    what it was at the best epoch; above ``huge_gap``, a rise by ``rise_of_huge_gap`` is enough.
    """
    train = look.history[look["of"]]
    if not train.count:
        return None
    if look.value <= look.series.lowest and look.position == look.series.lowest_position:
        look.memory["train"] = train.values[-1]
    best, best_epoch, train_then = look.series.lowest, look.series.lowest_position, look.memory.get("train", -math.inf)
    if look.position - best_epoch < look["patience"]:
        return None
    now, train_now = fmean(look.series.last(3)), fmean(train.last(3))
    if train_now >= train_then - look["fall"] * abs(train_then):
        return None
    said = (
        f"rose to {number(now)} (mean of three epochs) from its best {number(best)} at epoch {best_epoch}, "
        f"while {look['of']} fell from {number(train_then)} to {number(train_now)}"
    )
    if min(best, train_now) <= 0:  # a likelihood: only differences mean something
        lost = now - best
        if lost <= (look["rise"] - 1) * (train.highest - train.lowest):
            return None
        return Sighting(said, lost, None if lost > train_then - train_now else "info")
    gap, growth = now / train_now, (now / train_now) / (best / train_then)
    by_heart = gap > look["gap"] and growth > look["growth"]
    rise = look["rise_of_huge_gap"] if by_heart and gap > look["huge_gap"] else look["rise"]
    if now <= rise * best:
        return None
    return Sighting(said, gap, None if by_heart else "info")


def underfitting(look: Look) -> Sighting | None:
    """The training loss has stopped falling without having come ``fall`` below the loss of the first batches."""
    window, batches = look["window"], look.history[look["of"]]
    if look.series.count < window or batches.count < 3:
        return None
    start, values = batches.start_median(3), look.series.last(window)
    now = fmean(values[-3:])
    if now <= 0 or now < (1 - look["fall"]) * start or slope_per_value(values) * window < -look["flat"] * now:
        return None
    return Sighting(
        f"stays at {number(now)} after {look.position + 1} epochs; the first batches had {number(start)}",
        now / start,
    )


def plateau(look: Look) -> Sighting | None:
    """Over ``window`` epochs the trend changed the loss by less than ``flat`` of it."""
    window = look["window"]
    if look.series.count < window:
        return None
    values = look.series.last(window)
    change, level = slope_per_value(values) * window, abs(fmean(values))
    if level == 0 or abs(change) >= look["flat"] * level:
        return None
    return Sighting(f"changed by {change / level:+.2%} over {window} epochs (now {number(look.value)})", -abs(change))


def collapse(look: Look) -> Sighting | None:
    """An effective rank below ``limit``; or a deviation per dimension below ``factor`` of its start.

    Where the rank began below ``limit``, as that of a few samples or of simple ones does, it must have halved.
    """
    if "rank" not in look.tag:
        return below_start(look)
    start = look.series.start_median(look["min_samples"])
    if look.value >= look["limit"] or (start < look["limit"] and look.value >= start / 2):
        return None
    return Sighting(f"was {number(look.value)}, below {number(look['limit'])}; it began at {number(start)}", 1.0)


def alike(look: Look) -> Sighting | None:
    """A similarity above ``limit``, while what is left of it to 1 has shrunk to ``factor`` of what it began with.

    Features with a common offset point in similar directions from the start, and yet differ.
    """
    start = look.series.start_median(look["min_samples"])
    if look.value <= look["limit"] or 1 - look.value >= look["factor"] * (1 - start):
        return None
    return Sighting(f"was {number(look.value)}, above {number(look['limit'])}; it began at {number(start)}", look.value)


def stuck_low(look: Look) -> Sighting | None:
    """A value below ``limit`` that has not risen by ``rise`` over what is remembered of it."""
    few = look["few"]
    if look.value >= look["limit"] or look.series.count < 2 * few:
        return None
    values = list(look.series.values)
    before, now = median(values[:few]), median(values[-few:])
    if now - before >= look["rise"]:
        return None
    return Sighting(f"was {number(look.value)}, below {number(look['limit'])}, and no longer rises", -look.value)


def narrow(look: Look) -> Sighting | None:
    """A deviation of similarities below ``limit`` of what their mean, where it is known, leaves to 1."""
    mean = look.history[look.tag.removesuffix("_std") + "_mean"]
    room = 1 - mean.values[-1] if mean.count else 1.0
    if look.value >= look["limit"] * room:
        return None
    known = f" with a mean of {number(mean.values[-1])}" if mean.count else ""
    return Sighting(f"was {number(look.value)}{known}, below {number(look['limit'] * room)}", -look.value)


def echo(look: Look) -> Sighting | None:
    """Forecasts run along with the last known value, and are no better than it nor much worse."""
    skill = look.history[look["skill"]]
    if not skill.count or look.value < look["correlation"]:
        return None
    if not look["least_skill"] <= skill.values[-1] <= look["skill_limit"]:
        return None
    return Sighting(
        f"was {number(look.value)} and {look['skill']} {number(skill.values[-1])}: "
        "forecasts repeat the last known value and are not better than it",
        look.value,
    )


def calibration(look: Look) -> Sighting | None:
    """Coverage of the 90 % interval, confidence against accuracy, correlation of uncertainty and error, calibration
    error: each with its limit.

    Of several at once, coverage and confidence come first: they say which way the model is wrong. (A calibration error
    is never below the distance of confidence and accuracy, so that it would hide it.)
    """
    value, said = look.value, f"was {number(look.value)}"
    if "coverage" in look.tag:
        if value < look["coverage_low"]:
            how = f"below {number(look['coverage_low'])}: over-confident, its intervals are too narrow"
            return Sighting(f"{said} %, {how}", 1 + look["coverage_low"] - value)
        if value > look["coverage_high"]:
            how = f"above {number(look['coverage_high'])}: under-confident, its intervals are too wide"
            return Sighting(f"{said} %, {how}", 1 + value - look["coverage_high"])
    elif "gap" in look.tag:
        if abs(value) > look["gap"]:
            verdict = "over-confident" if value > 0 else "under-confident"
            how = f"{100 * abs(value):.0f} points {'above' if value > 0 else 'below'} its accuracy"
            return Sighting(f"{said}: {verdict}, its confidence is {how}", 1 + abs(value))
    elif "correlation" in look.tag:
        if value < look["correlation"]:
            least = number(look["correlation"])
            return Sighting(f"{said}, below {least}: uncertainty does not show where errors are large", -value)
    elif value > look["error"]:
        return Sighting(f"{said}, above {number(look['error'])}", value)
    return None
