# Every target sets up .venv by itself. `make` alone lists the targets.
# Needs make (GNU Make 3.81, as macOS ships it, is enough), Python 3.11 to 3.14 and the Python package
# registry, nothing else. Without make: `python make.py book`.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
.DELETE_ON_ERROR:

# Values reach Python through the environment and as quoted arguments: neither make nor the shell reads
# them as code. `override` and `export` stand on lines of their own, as GNU Make 3.81 needs it.
VENV ?= .venv
override VENV := $(value VENV)
override TIER := $(value TIER)
override TRIALS := $(value TRIALS)
override DEVICE := $(value DEVICE)
override DATASET := $(value DATASET)
override SEED := $(value SEED)
override ONLY := $(value ONLY)
export VENV TIER TRIALS DEVICE DATASET SEED ONLY
ifdef MGCORE_DATA
override MGCORE_DATA := $(value MGCORE_DATA)
export MGCORE_DATA
endif
PY := "$$VENV/bin/python"
UV := uv==0.13.9

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: ## set up .venv alone (a minute or two the first time)
	@[ "$$VENV/.installed" -nt requirements.txt ] && [ "$$VENV/.installed" -nt pyproject.toml ] \
	  || python3 book/tools/install.py "$$VENV"

.PHONY: book
book: ## execute what changed, build the website, say where it is
	@python3 make.py book

.PHONY: check
check: ## lint, types and the unit tests of mgcore without lab and book (a minute)
	@python3 make.py check

.PHONY: test
test: ## unit tests, doctests, smoke runs, the built site, nbval on every chapter (half an hour on two cores)
	@python3 make.py test

.PHONY: test-slow
test-slow: editions slides ## what takes longer: kills in the middle, the editions, the slides, the PDF
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist worksteal -m slow tests

.PHONY: test-all
test-all: test test-slow ## both (45 minutes at most)

.PHONY: editions
editions: setup ## the student edition, without solutions, and the instructor's
	@$(PY) book/tools/execute.py
	@$(PY) book/tools/build_site.py --edition student --output _build/student
	@$(PY) book/tools/build_site.py --edition instructor --output _build/instructor

.PHONY: slides
slides: setup ## a deck for each chapter, with speaker notes: _build/slides/index.html
	@$(PY) book/tools/execute.py
	@$(PY) book/tools/build_slides.py

.PHONY: pdf
pdf: setup ## the book as one PDF, where Chromium is installed: _build/book.pdf
	@$(PY) book/tools/execute.py
	@$(PY) book/tools/pdf.py

.PHONY: reproduce
reproduce: setup ## re-run the experiments: TIER=class DEVICE=auto TRIALS=3 (also DATASET=, SEED=, ONLY=pooling)
	@$(PY) book/tools/reproduce.py \
	  $${TIER:+"--tier=$$TIER"} $${TRIALS:+"--trials=$$TRIALS"} $${DEVICE:+"--device=$$DEVICE"} \
	  $${DATASET:+"--dataset=$$DATASET"} $${SEED:+"--seed=$$SEED"} $${ONLY:+"--only=$$ONLY"}

.PHONY: refresh
refresh: setup ## rewrite the outputs committed in book/*.ipynb (the only target that does)
	@$(PY) book/tools/refresh.py

.PHONY: lock
lock: setup ## remake requirements.txt from pyproject.toml
	@$(PY) -m pip install --quiet "$(UV)"
	@$(PY) book/tools/lock.py

.PHONY: mutants
mutants: setup ## plant each fault of tests/robustness/mutants.txt in a copy; some test must fail
	@$(PY) tests/robustness/mutants.py

.PHONY: soak
soak: setup ## break a study in every way a computer can, and list what happened (half an hour)
	@$(PY) tests/robustness/soak.py

.PHONY: bench
bench: setup ## measure this machine: training rate beside matrix multiplication
	@$(PY) -m mgcore bench

.PHONY: clean
clean: ## remove what was built; .venv, book/records and your own trials in _build/records stay
	@rm -rf .pytest_cache .ruff_cache .hypothesis
	@[ ! -d _build ] || find _build -mindepth 1 -maxdepth 1 ! -name records -exec rm -rf {} +
	@find book mgcore tests -name __pycache__ -type d -prune -exec rm -rf {} +
