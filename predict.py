"""Forecast with a trained run: ``python predict.py --help``."""

from src.cli.common import run_app
from src.cli.predict import app

if __name__ == "__main__":
    run_app(app)
