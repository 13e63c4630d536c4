# Everything a developer or a new user types. `make` alone prints this list.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv does not read pip's settings: a folder of wheels named there is passed on.
LINKS := $(if $(PIP_FIND_LINKS),UV_FIND_LINKS="$(PIP_FIND_LINKS)")
# Two workers on two cores, one torch thread each.
WORKERS ?= 2
export HF_HUB_OFFLINE = 1

.PHONY: help setup demo check test results bench docs clean

help:
	@echo "make setup    the environment in .venv/"
	@echo "make demo     draw a phantom slide, screen it, print where the report is"
	@echo "make check    formatting, lint, types, import directions, docs in step with the code"
	@echo "make test     the whole test suite"
	@echo "make results  write docs/results.md from docs/results/*.json"
	@echo "make bench    speed of reading and screening (BENCH=full: the full-size slide)"
	@echo "make docs     write the generated pages of docs/"
	@echo "make clean    remove .venv/, demo/ and caches"

setup: $(VENV)/.ready

# uv where it can be had (seconds), else pip (minutes). The pinned versions are in constraints.txt.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv || true
	if [ -x $(BIN)/uv ]; then \
	  $(LINKS) $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e ".[dev]"; \
	else \
	  $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"; \
	fi
	touch $@

demo: setup
	$(BIN)/koilo demo

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/python runs/results.py --check

test: setup
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadgroup $(TESTS)

results: setup
	$(BIN)/python runs/results.py

bench: setup
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/screening.py $(if $(filter full,$(BENCH)),--full)

docs: setup
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
