"""Train several architectures on one data set: ``python train_models.py --help``."""

from src.cli.common import run_app
from src.cli.train import app

if __name__ == "__main__":
    run_app(app)
