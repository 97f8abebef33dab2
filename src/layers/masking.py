"""Which patches a joint-embedding predictive model hides from its context encoder."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import OptionError

AREAS = (0.15, 0.2)
RATIOS = (0.5, 2.0)
"""Share of all patches that a block covers, and its height over its width; drawn evenly, ratios on a log scale."""
LEAST_PATCHES = 4


class BlockMasks:
    """Multi-block masks: several rectangles of patches at random places, each of its own size, hidden together.

    The blocks are what is predicted, and what they leave is the context, so that the two never overlap (Assran et al.
    2023, I-JEPA, arXiv 2301.08243, section 3: blocks of 15 to 20 % of the picture). One row of patches, a series, has
    blocks of successive patches.

    Args:
        rows, columns: patches of a sample.
        blocks: how many rectangles; they may overlap one another.

    Raises:
        OptionError: if there are too few patches to hide some and to leave some.
    """

    def __init__(self, rows: int, columns: int, blocks: int) -> None:
        self.largest = max(1, round(AREAS[1] * rows * columns))
        if rows * columns < LEAST_PATCHES or blocks * self.largest >= rows * columns:
            raise OptionError(
                f"masks of {blocks} blocks must leave patches to see, but there are {rows} x {columns} patches; "
                "use a smaller patch or fewer blocks"
            )
        self.rows, self.columns, self.blocks = rows, columns, blocks

    def __call__(
        self, count: int, device: torch.device | str = "cpu", generator: torch.Generator | None = None
    ) -> Tensor:
        """Masks of ``count`` samples, bool ``[count, rows * columns]``: True where a patch is hidden."""
        drawn = torch.rand(4, count, self.blocks, device=device, generator=generator)
        area = (AREAS[0] + (AREAS[1] - AREAS[0]) * drawn[0]) * self.rows * self.columns
        ratio = RATIOS[0] * (RATIOS[1] / RATIOS[0]) ** drawn[1]
        height = (area * ratio).sqrt().round().clamp(1, min(self.rows, self.largest))
        width = (area / height).round().clamp(1, self.columns)
        # Rounding must not make a block larger than the largest, or all of them together might hide everything.
        width = torch.minimum(width, (self.largest / height).floor())
        top = (drawn[2] * (self.rows - height + 1)).floor()
        left = (drawn[3] * (self.columns - width + 1)).floor()
        row, column = torch.arange(self.rows, device=device), torch.arange(self.columns, device=device)
        in_rows = (row >= top[..., None]) & (row < (top + height)[..., None])
        in_columns = (column >= left[..., None]) & (column < (left + width)[..., None])
        return (in_rows[..., :, None] & in_columns[..., None, :]).any(1).flatten(1)
