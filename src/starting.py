"""Going on from another run: its encoder's weights as the start of new models of the same shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import OptionError, UserError
from .models import load_all
from .tracking.run_folder import CHECKPOINT_FOLDER

if TYPE_CHECKING:
    from torch import Tensor

    from .models.base_model import BaseModel


@dataclass(frozen=True)
class StartingPoint:
    """A trained encoder.

    Attributes:
        file: the checkpoint it comes from.
        name: of its model.
        options: what another model's options must be for the same shape; those it does not have are left out.
        weights: by their names within the encoder.
    """

    file: Path
    name: str
    options: Mapping[str, Any]
    weights: Mapping[str, Tensor]

    @classmethod
    def of_run(cls, run: str | Path, plugins: tuple[str, ...] = ()) -> StartingPoint:
        """The encoder of a run's best checkpoint.

        Args:
            run: folder of the run, ``runs/<timestamp>/<model>``, or a checkpoint file.
            plugins: files of models.

        Raises:
            UserError: if there is none, or it cannot be read.
        """
        path = Path(run).expanduser()
        file = path if path.is_file() else path / CHECKPOINT_FOLDER / "best.pt"
        if not file.is_file():
            raise UserError(f"--init-from needs a trained run, runs/<timestamp>/<model>, but {run} has no {file.name}")
        from .models.base_model import BaseModel  # a command that starts from nothing need not wait for it

        load_all(plugins)
        model = BaseModel.load(file)
        return cls(file.absolute(), model.name, model.encoder_options(), model.encoder_weights())

    def give_to(self, model: BaseModel) -> int:
        """Let a model start from these weights. Returns how many numbers it took over.

        Raises:
            OptionError: if it has none of them, or some of another shape.
        """
        taken = model.start_from(self.weights)
        if not taken:
            raise OptionError(
                f"--init-from needs a model with the encoder of {self.name}, but {model.name} has none of its weights; "
                "transformer:basic goes on from jepa:hierarchical on series"
            )
        return sum(self.weights[name].numel() for name in taken)
