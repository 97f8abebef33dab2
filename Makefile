# make run: environment, install, train on the embedded data, say where to look. make test: all checks.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: run test check docs clean

run: $(VENV)/installed
	$(BIN)/python train_models.py --tensorboard

test: $(VENV)/installed-dev check
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/installed
	$(BIN)/python -m src.tracking.tags > docs/metrics.md

$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; sys.exit(None if sys.version_info >= (3, 11) else 'trainboard needs Python 3.11 or newer; use make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python requirements.txt
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/installed-dev: $(VENV)/bin/python requirements.txt requirements-dev.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist *.egg-info
