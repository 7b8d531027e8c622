# Every target sets up what it needs: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test ablation bench bench-gpu check format clean

setup: $(READY)  ## a virtual environment in .venv; `source .venv/bin/activate` puts `vitaclip` on the path

demo: $(READY)  ## write the miniature world, train on it, and draw the page demo/index.html
	$(BIN)/vitaclip demo --out demo

test: $(READY)  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

docs: $(READY)  ## write the tables of docs/ that come from the code
	PYTHONPATH=tests $(BIN)/python tools/docs_tables.py

ablation: $(READY)  ## every variant and baseline on the miniature world, three seeds each; hours
	$(BIN)/python benchmarks/miniature_world.py --out ablation

bench: $(READY)  ## measure speed, memory, growth and exactness: tables on the screen, all times in bench/*.json, and what changed
	$(BIN)/python benchmarks/parity.py --out bench/parity.json
	$(BIN)/python benchmarks/training_speed.py --out bench/training_speed.json
	$(BIN)/python benchmarks/methods_speed.py --out bench/methods_speed.json
	$(BIN)/python benchmarks/kernels.py --out bench/kernels.json
	$(BIN)/python benchmarks/scaling.py --out bench/scaling.json
	$(BIN)/python benchmarks/decoding.py --folder bench/clips --runs 2 --long-runs 1 --out bench/decoding.json
	$(BIN)/python benchmarks/loader.py --folder bench/clips --turns 2 --out bench/loader.json
	$(BIN)/python benchmarks/many_processes.py --out bench/many_processes.json
	$(BIN)/python benchmarks/kill_and_resume.py --kills 3 --out bench/kill_and_resume.json
	$(BIN)/python benchmarks/feature_cache.py --shape miniature --out bench/feature_cache.json
	$(BIN)/python benchmarks/export.py --pairs 3 --out bench/export.json
	$(BIN)/python benchmarks/int8.py --pairs 3 --ways int8 --out bench/int8.json
	$(BIN)/python benchmarks/growth.py --clips 2 --out bench/growth.json
	$(BIN)/python benchmarks/changes.py

# With a torch that is installed already (a CUDA build): GPU_PYTHON=python3 make bench-gpu
GPU_PYTHON ?= $(BIN)/python
bench-gpu: $(if $(filter $(BIN)/python,$(GPU_PYTHON)),$(READY))  ## a GPU in at most 8 minutes: right numbers, then speed
	PYTHONPATH=src $(GPU_PYTHON) benchmarks/gpu.py --out bench/gpu.json

check: $(READY)  ## format, lint, types, tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(MAKE) test

format: $(READY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf $(VENV) demo runs bench

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
