"""What probes of a representation reach on the validation part, on the epoch axis."""

from __future__ import annotations

from .spec import MetricSpec

PROBE_LINEAR = "probe/linear"
PROBE_NEIGHBOURS = "probe/nearest_neighbours"
PROBE_GAIN = "probe/gain_over_untrained"
PROBE_TAGS = {"probe": PROBE_LINEAR, "probe_knn": PROBE_NEIGHBOURS, "probe_gain": PROBE_GAIN}
"""Where a model's ``validation_metrics`` of these names go."""


def _probe(tag: str, help: str, chart: str = "Probes of the validation part") -> MetricSpec:
    return MetricSpec(tag, "fraction", "higher", "epoch", "cheap", "Representation", help, chart=chart)


SPECS: tuple[MetricSpec, ...] = (
    _probe(
        PROBE_LINEAR,
        "What a linear reader of the features, fitted to training samples, reaches on the validation part: share of "
        "right answers, or of variance explained. It decides which epoch is best.",
    ),
    _probe(PROBE_NEIGHBOURS, "The same of the five nearest neighbours among the training samples."),
    _probe(
        PROBE_GAIN,
        "The linear reader's value, less what it reached with the encoder before its first step: what was learnt.",
        chart="Gain over the untrained encoder",
    ),
)
