"""Every option of every model: its search range can be built, wrong values are refused in one line."""

import dataclasses
import math

import pytest
import torch

from src import registry
from src.errors import OptionError
from src.models import create_model, load_all
from src.options import field_types, optional_type

load_all()
NAMES = [known.name for known in registry.entries() if "series" in known.model_class.kinds]


@pytest.fixture
def any_data(make_data):
    """Call it with a model's name to get data that the model can learn from."""

    def choose(name, **options):
        for task in ("forecast", "direction"):
            data = make_data(task=task, window=96, rows=300, **options)
            if registry.entry(name).model_class.unsupported(data.spec) is None:
                return data
        raise AssertionError(f"{name} supports neither task on plain series")

    return choose


def search_ends(field):
    found = field.metadata.get("search_range")
    if found is None:
        return []
    return list(found.choices) if found.choices is not None else [found.low, found.high]


SEARCH_ENDS = [
    pytest.param(name, field.name, value, id=f"{name}-{field.name}={value}")
    for name in NAMES
    for field in dataclasses.fields(registry.entry(name).model_class.Config)
    for value in search_ends(field)
]


@pytest.mark.parametrize(("name", "option", "value"), SEARCH_ENDS)
def test_search_range_can_be_built(name, option, value, any_data):
    data = any_data(name, transform="level")
    model = create_model(name, data.spec, {option: value})
    assert getattr(model.config, option) == value
    with torch.no_grad():
        assert model.predict(data.test.select(torch.arange(2)).inputs).shape == (2, 1, 1)


def wrong_values(field, annotation):
    rules, (kind, may_be_none) = field.metadata, optional_type(annotation)
    values = [] if may_be_none else [None]
    if rules["minimum"] is not None:
        values.append(kind(rules["minimum"] - 1))
    if rules["above"] is not None:
        values.append(kind(rules["above"]))
    if rules["maximum"] is not None:
        values.append(kind(rules["maximum"] + 1))
    if rules["choices"] is not None:
        values.append("no such choice")
    if kind is float:
        values += [math.nan, math.inf, "0.5", True]
    if kind is int:
        values += [1.5, "3", True]
    if kind is bool:
        values += [1, "yes"]
    if kind is str:
        values.append(3)
    return values


@pytest.mark.parametrize("name", NAMES)
def test_wrong_options_are_refused_in_one_line(name, any_data):
    spec = any_data(name).spec
    config_class = registry.entry(name).model_class.Config
    types = field_types(config_class)
    for field in dataclasses.fields(config_class):
        assert field.metadata["help"]
        for value in wrong_values(field, types[field.name]):
            with pytest.raises(OptionError, match=field.name) as refusal:
                create_model(name, spec, {field.name: value})
            assert "\n" not in str(refusal.value)
    with pytest.raises(OptionError, match="no_such_option"):
        create_model(name, spec, {"no_such_option": 1})
