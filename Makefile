# Every target sets up .venv by itself. `make` alone lists the targets.
# Needs make, Python 3.11 or 3.12 and the Python package registry, nothing else.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
UV := uv==0.13.9
# Chapters run in book/, so a relative folder is meant from here.
ifneq ($(MGCORE_DATA),)
ifneq ($(patsubst /%,,$(firstword $(MGCORE_DATA))),)
export override MGCORE_DATA := $(CURDIR)/$(MGCORE_DATA)
endif
endif
CHAPTERS = $(wildcard book/*.ipynb)
# One thread a process: trials run one per core, and thread counts change the last digits.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadscope
NBVAL := OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadscope -p no:cacheprovider --nbval

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(STAMP): requirements.txt pyproject.toml
	@python3 book/tools/install.py "$(VENV)"
	@touch "$@"

.PHONY: setup
setup: $(STAMP) ## set up .venv alone (a minute or two the first time)

.PHONY: book
book: $(STAMP) ## execute what changed, build the website, say where it is
	@$(PY) book/tools/execute.py
	@$(PY) book/tools/build_site.py

.PHONY: test
test: book ## unit tests, doctests, smoke runs, the built site, nbval on every chapter (10 minutes at most)
	@$(PYTEST) -m "not slow"
	@$(NBVAL) $(CHAPTERS)

.PHONY: test-slow
test-slow: editions slides ## what takes longer: kills in the middle, the editions, the slides, the PDF
	@$(PYTEST) -m slow tests

.PHONY: test-all
test-all: test test-slow ## both (45 minutes at most)

.PHONY: editions
editions: $(STAMP) ## the student edition, without solutions, and the instructor's
	@$(PY) book/tools/execute.py
	@$(PY) book/tools/build_site.py --edition student --output _build/student
	@$(PY) book/tools/build_site.py --edition instructor --output _build/instructor

.PHONY: slides
slides: $(STAMP) ## a deck for each chapter, with speaker notes: _build/slides/index.html
	@$(PY) book/tools/execute.py
	@$(PY) book/tools/build_slides.py

.PHONY: pdf
pdf: $(STAMP) ## the book as one PDF, where Chromium is installed: _build/book.pdf
	@$(PY) book/tools/execute.py
	@$(PY) book/tools/pdf.py

# The values reach Python as arguments; the shell never reads them as code.
.PHONY: reproduce
reproduce: override export TIER := $(value TIER)
reproduce: override export TRIALS := $(value TRIALS)
reproduce: override export DEVICE := $(value DEVICE)
reproduce: override export DATASET := $(value DATASET)
reproduce: override export SEED := $(value SEED)
reproduce: override export ONLY := $(value ONLY)
reproduce: $(STAMP) ## re-run the experiments: TIER=class DEVICE=auto TRIALS=3 (also DATASET=, SEED=, ONLY=pooling)
	@$(PY) book/tools/reproduce.py \
	  $${TIER:+"--tier=$$TIER"} $${TRIALS:+"--trials=$$TRIALS"} $${DEVICE:+"--device=$$DEVICE"} \
	  $${DATASET:+"--dataset=$$DATASET"} $${SEED:+"--seed=$$SEED"} $${ONLY:+"--only=$$ONLY"}

.PHONY: refresh
refresh: $(STAMP) ## rewrite the outputs committed in book/*.ipynb (the only target that does)
	@$(PY) book/tools/refresh.py

.PHONY: lock
lock: $(STAMP) ## remake requirements.txt from pyproject.toml
	@$(PY) -m pip install --quiet "$(UV)"
	@$(PY) book/tools/lock.py

.PHONY: mutants
mutants: $(STAMP) ## plant each fault of tests/robustness/mutants.txt in a copy; some test must fail
	@$(PY) tests/robustness/mutants.py

.PHONY: soak
soak: $(STAMP) ## break a study in every way a computer can, and list what happened (half an hour)
	@$(PY) tests/robustness/soak.py

.PHONY: bench
bench: $(STAMP) ## measure this machine: training rate beside matrix multiplication
	@$(PY) -m mgcore bench

.PHONY: clean
clean: ## remove what was built; .venv, book/records and your own trials in _build/records stay
	@rm -rf .pytest_cache .ruff_cache .hypothesis
	@[ ! -d _build ] || find _build -mindepth 1 -maxdepth 1 ! -name records -exec rm -rf {} +
	@find book mgcore tests -name __pycache__ -type d -prune -exec rm -rf {} +
