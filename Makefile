# Every target sets up .venv by itself; a fresh machine needs Python 3.11 and make, nothing else.
PYTHON ?= $(shell command -v python3.11 || echo python3)
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test install bench evidence results clean

demo: install
	$(BIN)/boundlab demo --out report

test: install
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/pytest -n 2 --dist worksteal -q

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

bench: install
	$(BIN)/python -m tests.benchmarks

evidence: install
	$(BIN)/pytest -n 2 --dist worksteal -q --hypothesis-profile search
	$(BIN)/pytest tests -q -m evidence
	$(BIN)/python -m proofs_checks --record --effort 10

results: install
	$(BIN)/python docs/results/nets.py
	$(BIN)/python docs/results/retraining.py
	$(BIN)/python docs/results/post_hoc.py
	$(BIN)/python docs/results/ranking.py
	$(BIN)/python docs/results/bounds_compared.py
	$(BIN)/python docs/results/bound_violations.py

clean:
	rm -rf .venv report build *.egg-info .pytest_cache .ruff_cache .benchmarks
