# The commands of memdt; `make help` lists them.
# Needed beforehand: make, git, and Python 3.11, 3.12 or 3.13.
#
# The software lives in .venv, in three steps:
#   1. everything in requirements.lock but torch, each file held to the hashes there, without
#      looking at dependencies. The lock is complete, and this way d4rl comes in without mujoco-py,
#      with which `import d4rl` fails.
#   2. torch, in the version of the lock, with what it asks for beyond that: its CUDA packages. No
#      hash is asked for here: which build of torch comes is up to the package index.
#   3. memdt itself, editable.
#
# Which build of torch comes is up to the package index; the usual one gives Linux the CUDA build
# (about 3 GB), which also runs without a GPU. For the CPU build (0.2 GB) instead:
#   with uv:   UV_TORCH_BACKEND=cpu make environment
#   with pip:  PIP_EXTRA_INDEX_URL=... make environment
#              (the address is under "CPU" on PyTorch's page "Start locally")

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
unexport PYTHONPATH PYTHONHOME

# A Python of your choice: make PYTHON=/path/to/python3.12
PYTHON ?=
# More options for snakemake: make reproduce OPTIONS='--config scale=smoke'
OPTIONS ?=
# A progress bar where there is a terminal; where there is none, a few plain lines a job.
talk := $(if $(shell test -t 2 && echo yes),--logger rich,--quiet rules)
# More seeds, as many as claims need to be decided: make reproduce SEEDS=10
SEEDS ?=
# What `make test` runs: make test MARKERS=slow, make test TESTS=tests/unit WORKERS=0
MARKERS ?= not slow and not cluster
TESTS ?= tests
WORKERS ?= auto

environment := $(CURDIR)/.venv
# Commands that the workflow starts must be those of .venv too.
in_environment := PATH="$(environment)/bin:$$PATH"

# Both stamps are written last, so an interrupted installation has none. The first holds the
# folder that the environment was made for: environments cannot be moved.
packages_stamp := .venv/.packages
environment_stamp := .venv/.complete
made_for := $(shell .venv/bin/python -c pass 2>/dev/null && cat $(packages_stamp) 2>/dev/null)
ifneq ($(made_for),$(CURDIR))
.PHONY: $(packages_stamp)
endif

.PHONY: help reproduce smoke test test-cluster check format environment clean-environment lock audit site

help: ## list these commands
	@awk -F ':[^#]*## ' '/^[a-z-]+:[^#]*## / {printf "  make %-18s  %s\n", $$1, $$2}' Makefile

# The scale and experiments that OPTIONS name for snakemake, as options of `memdt plan`.
comma := ,
planned = $(patsubst scale=%,--scale %,$(filter scale=%,$(OPTIONS))) \
    $(subst $(comma), ,$(patsubst experiments=%,--experiments %,$(filter experiments=%,$(OPTIONS))))

# The forecast comes first and decides nothing: bad input is for snakemake to refuse.
reproduce: $(environment_stamp) ## install what is needed, then run every experiment and write the report
	@$(in_environment) $(if $(SEEDS),MEMDT_SEEDS=$(SEEDS)) memdt plan --stages $(planned) 2>/dev/null || true
	@$(in_environment) $(if $(SEEDS),MEMDT_SEEDS=$(SEEDS)) snakemake $(talk) --cores all --rerun-incomplete $(OPTIONS)

smoke: $(environment_stamp) ## run every part once, tiny, to see that all of it works
	@$(in_environment) snakemake smoke $(talk) --cores all --rerun-incomplete $(OPTIONS)

test: $(environment_stamp) ## install what is needed, then run the tests but for slow and cluster ones
	@$(in_environment) python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile \
	    -m "$(MARKERS)" $(TESTS)

test-cluster: $(environment_stamp) ## test on a real SLURM cluster of its own (Debian's packages, as root; skips where they lack)
	@$(in_environment) python -m pytest -m cluster tests/cluster

check: $(environment_stamp) ## check format, style, types and the workflow
	@echo "ruff format"; $(in_environment) ruff format --check .
	@echo "ruff check"; $(in_environment) ruff check .
	@echo "mypy"; $(in_environment) mypy
	@echo "lint-imports"; $(in_environment) lint-imports
	@echo "snakefmt"; $(in_environment) snakefmt --check Snakefile workflow
	@echo "snakemake --lint"; $(in_environment) snakemake --lint

format: $(environment_stamp) ## bring files into the style that `make check` asks for, and write generated ones anew
	@$(in_environment) ruff check --fix --select I .
	@$(in_environment) ruff format .
	@$(in_environment) snakefmt Snakefile workflow
	@$(in_environment) python -m memdt schema
	@$(in_environment) python -m memdt pipeline

# -E: Sphinx warns about a page only when it reads it, and then an unchanged page would pass.
site: $(environment_stamp) ## write pages, results, reports and the code's reference as a website into site/
	@$(in_environment) python -m sphinx --builder html --fail-on-warning --quiet -E \
	    --conf-dir docs/site --doctree-dir build/site . site
	@echo "open site/index.html"

environment: $(environment_stamp) ## only install what is needed, into .venv

clean-environment: ## remove .venv
	rm -rf .venv

# ---- the environment -----------------------------------------------------------------------

# A uv inside .venv does not count: it would go with it.
UV := $(filter-out $(environment)/%,$(shell command -v uv))
ifneq ($(UV),)
create = "$(UV)" venv --quiet --python $(1) .venv
install := "$(UV)" pip install --quiet --python .venv/bin/python
else
create = $(1) -m venv .venv
install := .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input
endif

# Lines of the lock with their hashes, those for which an awk expression holds.
part = awk '/^[^ \#]/ { $(1) } keep' requirements.lock
# The lock without hashes: pip takes no other file as constraints of what has none.
versions := sed -nE 's/^([A-Za-z0-9._-]+==[^\]*[^\ ]) *\\?$$/\1/p'

# Prints the real path: an activated .venv is about to be removed, and with it its `python3`.
python_check := import os, sys, venv; \
    print(os.path.realpath(sys.executable)); sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
python_candidates := $(or $(PYTHON),python3 python3.13 python3.12 python3.11)

$(packages_stamp): requirements.lock
	@set -eu; \
	for candidate in $(python_candidates); do \
	    if python="$$("$$candidate" -c '$(python_check)' 2>/dev/null)"; then break; fi; \
	    python=; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "memdt needs Python 3.11, 3.12 or 3.13, not found as: $(python_candidates)." \
	         "Install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
	    exit 1; \
	fi; \
	echo "[1/4] .venv is missing, unfinished or out of date: making it anew with $$python and $(if $(UV),uv,pip)"; \
	rm -rf .venv; \
	$(call create,"$$python"); \
	$(call part,keep = /^setuptools==/) > .venv/first.txt; \
	$(call part,keep = !/^(torch|setuptools)==/) > .venv/hashed.txt; \
	$(versions) requirements.lock > .venv/versions.txt; \
	echo "[2/4] all packages but PyTorch (10 s with uv, 2 minutes with pip; 0.5 GB)"; \
	$(install) --no-deps --require-hashes -r .venv/first.txt; \
	$(install) --no-deps --require-hashes --no-build-isolation -r .venv/hashed.txt; \
	echo "[3/4] PyTorch (seconds to minutes: up to 3 GB where the index gives the CUDA build)"; \
	$(install) -c .venv/versions.txt torch; \
	printf '%s\n' '$(CURDIR)' > $@

$(environment_stamp): $(packages_stamp) pyproject.toml
	@echo "[4/4] memdt itself"
	@$(install) --no-deps --no-build-isolation -e .
	@touch $@

# ---- the lock ------------------------------------------------------------------------------

# One version per package for all three Pythons (--universal, --fork-strategy fewest).
compile = uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 \
    --all-extras --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
    $(1) pyproject.toml requirements.in

# The first pass finds the names of torch's CUDA packages, the second leaves them out. Versions
# already in the lock stay as they are: make lock UPGRADE=--upgrade, or UPGRADE='-P dvc'.
UPGRADE ?=
lock: ## write requirements.lock and constraints.txt anew after a change of pyproject.toml or requirements.in (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv on PATH: pip install uv" >&2; exit 1; }
	@set -euo pipefail; \
	left_out="$$($(call compile,--no-header --no-annotate) \
	    | sed -nE 's/^((nvidia|cuda)-[a-z0-9-]+|triton)==.*/--no-emit-package \1/p')"; \
	$(call compile,$(UPGRADE) $$left_out --output-file requirements.lock) > /dev/null; \
	{ echo "# The versions of requirements.lock without hashes, for conda; by make lock"; \
	    $(versions) requirements.lock; } > constraints.txt

audit: ## compare the versions of requirements.lock with known holes (needs uv and the internet)
	@command -v uv >/dev/null || { echo "make audit needs uv on PATH: pip install uv" >&2; exit 1; }
	@uv tool run pip-audit --strict --no-deps --disable-pip -r constraints.txt
