"""Monitors from a user's own file, and that all of ours have their tags in the table."""

import re

import pytest
import torch

from src.errors import UserError
from src.tracking.monitors.defaults import default_monitors, load_monitors
from src.tracking.tag_tables import monitors as tags

EXAMPLE = '''
"""How far the weights have moved since training began."""

import torch

from src.tracking.monitors.base import Monitor


class DistanceFromStart(Monitor):
    name = "distance from start"
    interval = 50

    def on_start(self, run):
        self.weights = [parameter for parameter in run.parameters.values() if parameter.requires_grad]
        self.start = [weight.detach().clone() for weight in self.weights]

    def on_step(self, step):
        moved = torch._foreach_norm(torch._foreach_sub(self.start, self.weights))
        return {"weight/distance_from_start": torch.linalg.vector_norm(torch.stack(moved))}
'''


def write(tmp_path, text, name="mine.py"):
    file = tmp_path / name
    file.write_text(text)
    return file


def test_a_user_s_file(tmp_path, loop):
    (monitor,) = load_monitors(write(tmp_path, EXAMPLE))
    assert (monitor.name, monitor.interval, monitor.diagnosed) == ("distance from start", 50, False)
    model = torch.nn.Linear(3, 1)
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    driven = loop(model, monitor, optimizer=torch.optim.SGD(model.parameters(), 0.1))
    for _ in range(3):
        values = driven.step(torch.randn(8, 3))
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert values["weight/distance_from_start"] == pytest.approx(float((after - before).norm()), rel=1e-4) != 0


def test_every_monitor_of_the_file_and_none_that_it_imports(tmp_path):
    text = EXAMPLE + "\nfrom src.tracking.monitors.inputs import Inputs\n"
    text += "class _Base(Monitor):\n    pass\nclass First(_Base):\n    pass\nclass Second(_Base):\n    pass\n"
    assert [type(monitor).__name__ for monitor in load_monitors(write(tmp_path, text))] == [
        "DistanceFromStart",
        "First",
        "Second",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_at_all", "--monitor .*mine.py fails: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("x = 1", "--monitor .*mine.py defines no monitor; derive a class from"),
        ("def f(:", "--monitor .*mine.py fails: SyntaxError"),
        ("raise SystemExit(3)", "--monitor .*mine.py fails: SystemExit: 3"),
        (
            "from src.tracking.monitors.base import Monitor\nclass M(Monitor):\n    def __init__(self, size): pass",
            "--monitor .*mine.py fails: TypeError: .*'size'",
        ),
    ],
)
def test_a_file_that_is_wrong_is_said_in_one_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as error:
        load_monitors(write(tmp_path, text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["gone.py", "monitors.txt"])
def test_a_file_that_is_none(tmp_path, name):
    with pytest.raises(UserError, match="must name a Python file"):
        load_monitors(tmp_path / name)


def test_default_monitors_are_fresh_and_have_names():
    first, second = default_monitors(), default_monitors()
    assert len({monitor.name for monitor in first}) == len(first)
    assert all(monitor.name for monitor in first)
    assert not {id(monitor) for monitor in first} & {id(monitor) for monitor in second}


def test_the_table_holds_every_tag_once_and_no_pattern_takes_another_s():
    texts = {value for name, value in vars(tags).items() if not name.startswith("_") and isinstance(value, str)}
    listed = [spec.tag for spec in tags.SPECS]
    assert sorted(listed) == sorted(texts - {"annotations"})
    for spec in tags.SPECS:
        taken = [tag for tag in listed if tag != spec.tag and re.fullmatch(spec.pattern, tag)]
        assert not taken, spec.tag
