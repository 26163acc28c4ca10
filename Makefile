# Each target does all its set-up: a virtual environment in .venv and the pinned packages.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test lint format benchmarks clean

demo: $(VENV)/.ready
	$(RUN) -m tools.demo

test: $(VENV)/.ready-test
	$(RUN) -m pytest

lint: $(VENV)/.ready-test
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .

format: $(VENV)/.ready-test
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

benchmarks: $(VENV)/.ready
	$(RUN) -m benchmarks.table

# One shared recipe: the environment is made once; a changed requirements file installs again.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: Python 3.10 to 3.13 is needed; name one with: make PYTHON=python3.12 ..."; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "error: this Python has no venv; on Debian or Ubuntu: apt-get install python3-venv"; exit 2; }

$(VENV)/.ready: requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.ready-test: requirements.txt requirements_test.txt requirements_corpus.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements_test.txt
	@touch $@ $(VENV)/.ready

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
