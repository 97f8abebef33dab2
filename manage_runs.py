"""List, compare, archive, delete and reproduce runs: ``python manage_runs.py --help``."""

from src.cli.common import run_app
from src.cli.manage import app

if __name__ == "__main__":
    run_app(app)
