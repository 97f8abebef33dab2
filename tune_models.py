"""Search for the best options of several architectures: ``python tune_models.py --help``."""

from src.cli.common import run_app
from src.cli.tune import app

if __name__ == "__main__":
    run_app(app)
