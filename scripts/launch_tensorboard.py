#!/usr/bin/env python3
"""Show training runs in TensorBoard: ``view_tensorboard.py`` under the name that the diffusion guide gives it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from src.cli.common import run_app
from src.cli.view import app

if __name__ == "__main__":
    run_app(app)
