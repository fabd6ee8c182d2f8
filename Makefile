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

# The embedded base from nothing: worlds, autoencoder, base, controls, live edition, inspector, figures. Every stage resumes.
MEADOW := runs/meadow
WORLDS ?= 24000
MIXTURE := --size 128 --hint seg --hint depth --hint normal --hint pose --sights 0.3
meadow: $(STAMP)
	$(BIN)/hackamore world --out $(MEADOW)/worlds --count $(WORLDS) $(MIXTURE) --people 0.25 --styles 0.2
	$(BIN)/hackamore world --out $(MEADOW)/inspect --count 13000 --seed 5000000 $(MIXTURE) --people 0.4 --styles 0.3
	for stage in autoencoder autoencoder-sharp base canny seg union color sketch canny-xs live inspector; do \
	    $(BIN)/hackamore train configs/meadow/$$stage.toml || exit 1; done
	$(BIN)/python benchmarks/install_meadow.py $(MEADOW)
	$(BIN)/python benchmarks/autoencoder.py
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
