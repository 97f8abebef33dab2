"""Loading a model by the right class."""

import pytest
import torch

from src.errors import UserError
from src.models import create_model
from src.models.base_model import BaseModel
from src.training.config import TrainingConfig


def test_a_model_without_a_name_is_loaded_by_its_class(make_data, tmp_path):
    """Built by hand rather than by ``create_model``, as in somebody's own script."""

    class Constant(BaseModel):
        def __init__(self, spec, config):
            super().__init__(spec, config)
            self.value = torch.nn.Parameter(torch.randn(spec.target_shape))

        def forward(self, inputs):
            return self.value.expand(len(inputs), *self.value.shape)

    data = make_data()
    model = Constant(data.spec, Constant.Config())
    model.fit(data, TrainingConfig(epochs=1, device="cpu"), run_dir=tmp_path)
    loaded = Constant.load(tmp_path / "checkpoints" / "best.pt")
    assert torch.equal(loaded.value, model.value)
    assert loaded.spec == model.spec
    with pytest.raises(UserError, match="without a registered name"):
        BaseModel.load(tmp_path / "checkpoints" / "best.pt")


def test_another_class_is_refused(make_data, tmp_path):
    data = make_data()
    create_model("linear:nlinear", data.spec).save(tmp_path / "model.pt")
    other = type(create_model("lstm:basic", data.spec))
    with pytest.raises(UserError, match="holds a linear:nlinear, which is not a LSTM"):
        other.load(tmp_path / "model.pt")
