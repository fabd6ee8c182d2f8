PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
JUDGES := $(VENV)/.judges

.PHONY: demo test check serve bench meadow clean

demo: $(STAMP)
	$(BIN)/hackamore demo

test: check $(JUDGES)
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist loadfile

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

serve: $(STAMP)
	$(BIN)/hackamore serve

bench: $(STAMP)
	$(BIN)/hackamore bench

# The embedded base from nothing: worlds, autoencoder, base, controls, inspector, figures. Every stage resumes.
MEADOW := runs/meadow
WORLDS ?= 24000
TRUTHS := --hint seg --hint depth --hint normal
meadow: $(STAMP)
	$(BIN)/hackamore world --out $(MEADOW)/worlds --count $(WORLDS) --size 128 --hint seg
	$(BIN)/hackamore world --out $(MEADOW)/inspect/land --count 8000 --size 128 --seed 5000000 $(TRUTHS)
	$(BIN)/hackamore world --out $(MEADOW)/inspect/people --count 5000 --size 128 --seed 5100000 $(TRUTHS) --hint pose --people 1
	$(BIN)/hackamore train configs/meadow/autoencoder.toml
	$(BIN)/hackamore train configs/meadow/base.toml
	$(BIN)/hackamore train configs/meadow/canny.toml
	$(BIN)/hackamore train configs/meadow/seg.toml
	$(BIN)/hackamore train configs/meadow/inspector-lands.toml
	$(BIN)/hackamore train configs/meadow/inspector.toml
	$(BIN)/python benchmarks/install_meadow.py $(MEADOW)
	$(BIN)/python benchmarks/inspector.py
	$(BIN)/python benchmarks/fidelity.py
	$(BIN)/python benchmarks/target_fidelity.py
	$(BIN)/python benchmarks/meadow_card.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

# Read for their networks, and never with what they would pull in.
$(JUDGES): $(STAMP)
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt mediapipe rtmlib
	touch $@

clean:
	rm -rf $(VENV) out dist build
