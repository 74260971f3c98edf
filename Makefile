# make demo   set up, then tune a small backbone on generated sounds in five ways: a table, a plot, adapters
#             EXPERIMENT=w2v_speechcommands, or any other of the ten; ast_esc50 if not given
# make test   set up, then run the tests
# make torture  set up, then the long tests: kills, signals, hosts, disks, 200 epochs; a table, a quarter of an hour on two cores
# make gpu    set up, then check and time what needs a GPU: gpu_report.md; without a GPU one line and status 2
# make check  formatting and lint          make bench  time all that is compared
# make docs   the pages of docs/ as HTML in site/
# make clean  remove what these made (never runs/)

PYTHON ?= python3
VENV ?= .venv
EXPERIMENT ?= ast_esc50
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test torture gpu check bench docs clean setup

demo: $(READY)
	$(BIN)/python demo.py $(EXPERIMENT)

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

torture: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.torture

gpu: $(READY)
	$(BIN)/python -m benchmarks.gpu

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

bench: $(READY)
	$(BIN)/python -m benchmarks

docs: $(READY)
	$(BIN)/python -m mkdocs build --strict

setup: $(READY)

# Installed anew only when what is pinned has changed.
$(READY): requirements.txt requirements-dev.txt pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $(READY)

clean:
	rm -rf $(VENV) demo_data site build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
