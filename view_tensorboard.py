"""Show training runs in TensorBoard: `python view_tensorboard.py --help`."""

from src.cli.common import run_app
from src.cli.view import app

if __name__ == "__main__":
    run_app(app)
