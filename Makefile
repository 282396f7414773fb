# Each target makes the virtual environment that it needs under .venv/ and uses it
# again until pyproject.toml changes. Needed beforehand: make, and Python 3.11 or newer
# with its venv module. To choose another interpreter: make test PYTHON=python3.13

PYTHON ?= python3
# Further arguments for the target's own command: make test ARGS="-k vmap"
ARGS ?=
OUT ?= demo-output

.PHONY: help demo test coverage lint docs bench array-api-tests clean

help:
	@echo "make demo   train a character transformer and write $(OUT)/ (three minutes)"
	@echo "make test   run the tests and the docstrings' examples"
	@echo "make lint   check style, format and types"
	@echo "make docs   build the documentation in build/site"
	@echo "make bench  time funcad beside autograd, PyTorch and JAX"
	@echo "make coverage"
	@echo "            write docs/coverage.md, the table of what can be transformed"
	@echo "make array-api-tests SUITE=path"
	@echo "            run the conformance suite, a checkout of which is at path"
	@echo "make clean  remove the environments, caches, built pages and the demo's output"
	@echo
	@echo "PYTHON=python3.13 chooses the interpreter, ARGS=... adds arguments."

# One BLAS thread: two are little faster, and spin for minutes on a busy machine.
demo: .venv/demo/stamp
	OPENBLAS_NUM_THREADS=1 .venv/demo/bin/python -m funcad.examples.char_transformer \
		--preset demo --out $(OUT) $(ARGS)

# The workers share the cores, so each keeps to one BLAS thread.
test: .venv/test/stamp
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MPLBACKEND=agg \
		.venv/test/bin/python -m pytest -n logical --dist worksteal $(ARGS)

coverage: .venv/test/stamp
	OPENBLAS_NUM_THREADS=1 .venv/test/bin/python tests/coverage_page.py

lint: .venv/lint/stamp
	.venv/lint/bin/ruff check .
	.venv/lint/bin/ruff format --check .
	.venv/lint/bin/mypy

# A warning is an error, such as a reference to a page or a function that is not there.
docs: .venv/docs/stamp
	.venv/docs/bin/python -m sphinx -c docs -d build/doctrees -W --keep-going --quiet \
		$(ARGS) . build/site
	@echo "open build/site/index.html"

bench: .venv/bench/stamp
	.venv/bench/bin/python bench/import_time.py --out bench/results/import_time.md
	.venv/bench/bin/python bench/namespace.py --out bench/results/namespace.md
	.venv/bench/bin/python bench/linalg.py --out bench/results/linalg.md
	.venv/bench/bin/python bench/checkpoint.py --out bench/results/checkpoint.md
	.venv/bench/bin/python bench/profile_overhead.py \
		--out bench/results/profile_overhead.md
	.venv/bench/bin/python bench/fusion.py --out bench/results/fusion.md
	.venv/bench/bin/python bench/trompt.py --out bench/results/trompt.md
	.venv/bench/bin/python bench/jit.py --out bench/results/jit.md $(ARGS)
	.venv/bench/bin/python bench/eager.py --out bench/results/eager.md $(ARGS)

# The suite is a checkout of data-apis/array-api-tests with its submodule array-api;
# tests/array_api_skips.txt says which of its tests are not run, and why.
array-api-tests: .venv/array-api/stamp
	@test -n "$(SUITE)" || { echo "make: say where the checkout of array-api-tests" \
		"is: make array-api-tests SUITE=path" >&2; exit 1; }
	cd "$(SUITE)" && OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 \
		ARRAY_API_TESTS_MODULE=funcad.numpy ARRAY_API_TESTS_VERSION=2024.12 \
		"$(CURDIR)/.venv/array-api/bin/python" -m pytest array_api_tests \
		-p no:cacheprovider --skips-file="$(CURDIR)/tests/array_api_skips.txt" $(ARGS)

clean:
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache $(OUT) build docs/api
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment holds the extra of its own name, but for the demo's.
extra_demo := examples

.venv/%/stamp: pyproject.toml
	@echo "making .venv/$* (once; a minute or so)"
	@rm -rf .venv/$*
	@$(PYTHON) -m venv .venv/$* || { \
		echo "make: $(PYTHON) cannot make a virtual environment: install its venv" \
			"module (Debian: apt install python3-venv)" >&2; exit 1; }
	@.venv/$*/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[$(or $(extra_$*),$*)]'
	@touch $@
