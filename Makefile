# `make run` and `make test` set everything up first. Nothing outside of .venv, runs/ and the user's cache
# (~/.cache/airtune, or $AIRTUNE_CACHE) is touched.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test slow engines ray lint types results-small setup clean

run: setup
	$(BIN)/airtune run examples/quickstart.yaml

test: setup
	$(BIN)/pytest -n 2 --dist loadfile

slow: ray
	$(BIN)/pytest -m slow

engines: ray
	$(BIN)/pytest -m slow tests/federation/test_engines.py

# Only the simulation engine needs it, and it is large.
ray: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[simulation]'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

# A reduced version of every table of docs/results.md, in runs/results-small. DATA=FOLDER, with the original files of
# the tasks in its gsm8k and yahoo_answers, makes those of both; without it generated word problems stand for them.
SMALL := runs/results-small
SMALL_TASKS := $(if $(DATA),gsm8k yahoo_answers,gsm_symbolic)
WORDS := $(firstword $(SMALL_TASKS))
small = benchmarks/small/$(1).yaml $(if $(DATA),--data $(DATA)/$(1))

results-small: $(SMALL_TASKS:%=small-%)
	$(BIN)/python benchmarks/criteria.py $(call small,$(WORDS)) --criteria taylor wanda --rates 0.3 --texts 8 \
		--scored 8 --out $(SMALL)/criteria.jsonl
	$(BIN)/python benchmarks/training.py --repeats 1 --steps 2 --rates 0.6 > $(SMALL)/training.jsonl
	$(BIN)/python benchmarks/planner.py --clients 10 30 100 1000 --seeds 1 > $(SMALL)/planner.jsonl

small-%: setup
	$(BIN)/airtune compare $(call small,$*) --methods joint-select,joint,jcpba,fedit,bandwidth-only,drop-slowest \
		--out $(SMALL)/$*
	$(BIN)/airtune sweep $(SMALL)/$* --compute 0.25,4
	$(BIN)/airtune compare $(call small,$*) --methods joint,fedit --reductions depth --learnt $(SMALL)/$*/learnt \
		--out $(SMALL)/$*-reductions
	$(BIN)/python benchmarks/error.py $(call small,$*) --examples 8 --reductions depth > $(SMALL)/$*-error.csv

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
