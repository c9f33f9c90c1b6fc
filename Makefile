# `make run` and `make test` set everything up first. Nothing outside of .venv, runs/ and the user's cache
# (~/.cache/airtune, or $AIRTUNE_CACHE) is touched.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test slow engines lint types results-small setup clean

run: setup
	$(BIN)/airtune run examples/quickstart.yaml

test: setup
	$(BIN)/pytest -n 2 --dist loadfile

slow: setup
	$(BIN)/pytest -m slow

# Ray, which the simulation engine needs, is installed here alone: it is large.
engines: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[simulation]'
	$(BIN)/pytest -m slow tests/federation/test_engines.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

results-small: setup
	$(BIN)/airtune compare examples/quickstart.yaml --rounds 3 --methods joint,jcpba,fedit,bandwidth-only,drop-slowest \
		--out runs/results-small

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "airtune needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		--editable '.[hub,mlflow,pdf,privacy,tensorboard,test]'
	$(BIN)/airtune fetch smollm2-135m
	$(BIN)/airtune fetch gsm_symbolic
	@touch $@

clean:
	rm -rf .venv
