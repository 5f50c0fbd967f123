# All of it works from a bare clone on a machine with Python and pip. `make help` lists the targets.
#
#   PYTHON   an interpreter, 3.11 or newer; by default the first of python3.11, python3 and its later names that runs
#   UV       how uv is called; found where it is installed. Without it, or where it fails, pip does the same more slowly

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-latest test-slow test-gpu bench bench-gpu conformance sweep parity lint format constraints dist clean

ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for name in python3.11 python3 python3.12 python3.13 python3.14 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
endif
ifeq ($(origin UV),undefined)
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || { "$(PYTHON)" -m uv --version >/dev/null 2>&1 && echo "$(PYTHON) -m uv"; })
endif
# The stamp carries the interpreter's version, so that another PYTHON makes another environment.
VERSION := $(shell "$(PYTHON)" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)
BASE := .venv/made-$(VERSION)
TEST := .venv-test/made-$(VERSION)
LATEST := .venv-latest/made-$(VERSION)

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 16

setup: $(BASE) $(TEST) ## both environments: .venv (the base install alone) and .venv-test (every framework)

$(BASE): pyproject.toml setup.py tools/environment constraints/base.txt
	@UV="$(UV)" tools/environment .venv "$(PYTHON)" constraints/base.txt
	@touch $@

$(TEST): pyproject.toml setup.py tools/environment constraints/tools.in constraints/test.in constraints/test.txt
	@case "$(VERSION)" in ""|3.11.*) ;; *) echo "make: .venv-test is for Python 3.11 (MXNet's numpy), and $(PYTHON) is $(VERSION);" \
	    "make $(MAKECMDGOALS) PYTHON=python3.11, or make test-latest" >&2; exit 1;; esac
	@UV="$(UV)" tools/environment .venv-test "$(PYTHON)" constraints/test.txt constraints/test.in
	@touch $@

$(LATEST): pyproject.toml setup.py tools/environment constraints/tools.in constraints/latest.in constraints/latest.txt
	@UV="$(UV)" tools/environment .venv-latest "$(PYTHON)" constraints/latest.txt constraints/latest.in
	@touch $@

# A store of its own and empty, so that each run shows the fetching and the check of every digest.
demo: export ZOO_HOME = $(CURDIR)/.venv/demo-store
demo: $(BASE) ## name what is on a photograph and rank sentences, with no framework installed
	@.venv/bin/python -c 'from importlib.util import find_spec; \
	    names = "torch tensorflow keras jax mxnet".split(); here = [n for n in names if find_spec(n)]; \
	    exit("a framework is installed in .venv: " + ", ".join(here)) if here else print("installed in .venv: none of", ", ".join(names))'
	@rm -rf "$$ZOO_HOME"
	.venv/bin/zoo run efficientnet-lite0 zoo/samples/coffee.jpg
	.venv/bin/zoo run minilm-l6 --query "How do I get my money back?" zoo/samples/sentences.txt
	.venv/bin/zoo cache list
	.venv/bin/zoo cache verify && echo "every file above is what its digest says"

# One run for each group of frameworks that share a process; tests/conftest.py says which and why. All run, where one has failed too.
define run-tests
@failed=; for group in $(2); do printf '\n--- tests: %s\n' $$group; \
    ZOO_TEST_GROUP=$$group $(1) -m pytest -n auto --maxprocesses 8 -m "not slow and not gpu" $(ARGS) || \
    { code=$$?; test $$code = 5 || failed="$$failed $$group"; }; done; \
test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }
endef

test: export ZOO_TEST_ENVIRONMENT = all
test: $(TEST) ## every test that needs no GPU, with every framework, on numpy 1.26
	$(call run-tests,.venv-test/bin/python,torch tensorflow jax mxnet)

test-latest: export ZOO_TEST_ENVIRONMENT = latest
test-latest: $(LATEST) ## the same without MXNet, on numpy 2 and the newest of everything
	$(call run-tests,.venv-latest/bin/python,torch tensorflow jax)

test-slow: export ZOO_TEST_ENVIRONMENT = all
test-slow: $(TEST) ## the long sweeps: kill -9, fuzzing, every architecture (ARGS="-k NAME" picks)
	.venv-test/bin/python -m pytest -m "slow and not gpu" $(ARGS)

test-gpu: export ZOO_TEST_ENVIRONMENT = all
test-gpu: $(TEST) ## the tests that want a GPU
	.venv-test/bin/python -m pytest -m gpu $(ARGS)

bench: $(BASE) $(TEST) ## ratios measured side by side: starting, loading weights, converted modules against their publisher's
	.venv/bin/python benchmarks/startup.py
	.venv-test/bin/python benchmarks/load_weights.py
	.venv-test/bin/python -W ignore benchmarks/against_publisher.py --plot docs/images/against-publisher.png
	.venv-test/bin/python -W ignore benchmarks/against_keras.py
	.venv-test/bin/python -W ignore benchmarks/against_jax.py
	.venv-test/bin/python -W ignore benchmarks/nativity.py

bench-gpu: $(TEST) ## converted modules against their publisher's on a GPU
	.venv-test/bin/python -W ignore benchmarks/against_publisher.py --device cuda

FRAMEWORK = torch
conformance: $(TEST) ## ONNX's backend suite in FRAMEWORK=torch: docs/conformance/ (ARGS="--only softmax" looks at a part)
	.venv-test/bin/python tools/conformance.py --framework $(FRAMEWORK) $(ARGS)

FAMILY = torchvision
sweep: $(TEST) ## FAMILY=torchvision|timm|transformers against the publishers' modules: docs/conformance/ (ARGS="--only '^res'")
	.venv-test/bin/python -W ignore tools/sweep.py $(FRAMEWORK) $(FAMILY) $(ARGS)

parity: $(TEST) ## every model of the registry in every framework against ONNX Runtime: docs/parity.md
	.venv-test/bin/python tools/parity.py $(ARGS)

lint: $(TEST) ## ruff, its format, and mypy --strict
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy

format: $(TEST) ## mend what ruff can mend
	.venv-test/bin/ruff check --fix .
	.venv-test/bin/ruff format .

COMPILE = $(UV) pip compile --quiet --upgrade --no-annotate --python-version 3.11 --custom-compile-command "make constraints"
constraints: ## pin today's newest versions (wants uv)
	@test -n "$(UV)" || { echo "make: pinning wants uv: pip install uv" >&2; exit 1; }
	$(COMPILE) --universal -o constraints/base.txt pyproject.toml
	$(COMPILE) -o constraints/test.txt pyproject.toml constraints/test.in
	$(COMPILE) --universal -o constraints/latest.txt pyproject.toml constraints/latest.in

dist: $(TEST) ## sdist and wheel in dist/, the wheel from the sdist
	rm -rf dist
	.venv-test/bin/python -m build

clean: ## take out what was made, the environments too
	rm -rf .venv .venv-test .venv-latest build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
