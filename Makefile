# The project's commands; `make` alone lists them. Each builds .venv first if it is missing, unfinished or older than the requirement files.
#
#   DEVICE=cpu|gpu   which MXNet to install; gpu where nvidia-smi answers, else cpu. Another value than last time rebuilds .venv.
#   TEST_SECONDS=... after which make test gives up, 1800 if not given.
#   PYTHON=...       interpreter that builds .venv; the newest suitable one otherwise.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-data fuzz results lint bench check-gpu setup clean

ifndef DEVICE
DEVICE := $(shell timeout 30 nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
endif
REQUIREMENTS_cpu := requirements-cpu.txt
REQUIREMENTS_gpu := requirements.txt
REQUIREMENTS := $(REQUIREMENTS_$(DEVICE))
ifndef REQUIREMENTS
$(error DEVICE=$(DEVICE) is neither cpu nor gpu)
endif

VENV := .venv
TEST_SECONDS := 1800
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check
# Written last and named after the device, so that neither an interrupted installation nor the other device's passes for this one.
READY := $(VENV)/ready-$(DEVICE)

# Sets $python in the shell to the interpreter for .venv, or ends the recipe with one line.
define find_python
python=; seen=; \
for name in $(or $(PYTHON),python3.11 python3.10 python3.9 python3.8 python3); do \
    version=$$($$name -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
    case $$version in \
    3.8|3.9|3.10|3.11) \
        if $$name -c 'import ensurepip, distutils.version' 2>/dev/null; then python=$$name; break; fi; \
        seen="$$seen; $$name is $$version without its venv module (on Debian: apt-get install $$name-venv python3-distutils)";; \
    *) seen="$$seen; $$name is $$version";; \
    esac; \
done; \
if [ -z "$$python" ]; then \
    echo "error: Python 3.8 to 3.11 is needed$${seen:-; none was found}: MXNet 1.9.1 and GluonCV import distutils, which 3.12 removed," \
        "and before 3.8 the pinned packages have no wheels; install one of these, or name it with make PYTHON=FILE" >&2; \
    exit 2; \
fi
endef

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(READY) ## landmarks on a photo, an evaluation on rendered faces, an export that is checked; into demo/
	$(RUN) demo.py --out demo

test: $(READY) ## all tests that need no data of yours, about 6 minutes on two cores
	TEST_SECONDS=$(TEST_SECONDS) OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist worksteal -m "not data" --durations=10

test-data: $(READY) ## the tests on real faces: make test-data FACE_DATA=FOLDER
	@test -n "$$FACE_DATA" || { echo "error: name the folder that holds the datasets: make test-data FACE_DATA=FOLDER (docs/data.md)" >&2; exit 2; }
	$(RUN) -m pytest -m data --durations=10

fuzz: $(READY) ## damaged files to every reader: make fuzz N=20000 [SEED=1]
	OMP_NUM_THREADS=1 PYTHONPATH=. $(RUN) tests/fuzz $(or $(N),20000) --seed $(or $(SEED),1)

results: $(READY) ## every shipped network on your data, beside the papers: make results FACE_DATA=FOLDER; into docs/results/
	@test -n "$$FACE_DATA" || { echo "error: name the folder that holds the datasets: make results FACE_DATA=FOLDER (docs/data.md)" >&2; exit 2; }
	$(RUN) -m tools.results --data "$$FACE_DATA" --out docs/results
	$(RUN) -m tools.documents

lint: $(READY) ## style, format and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

bench: $(READY) ## faces per second and memory of data, training and prediction
	$(RUN) -m tools.benchmark

check-gpu: $(READY) ## say what is missing before a GPU can be used; exit code 0 if nothing is
	@$(RUN) -m tools.install_cuda check

setup: $(READY) ## only build .venv

$(READY): $(REQUIREMENTS) constraints.txt
	@$(find_python); \
	echo "Installing $(REQUIREMENTS) into $(VENV) with $$python"; \
	rm -rf $(VENV) && $$python -m venv $(VENV)
	@$(PIP) install --requirement $(REQUIREMENTS)
	@$(RUN) -c 'import cv2' 2>/dev/null || { \
	    echo "OpenCV's windows need libGL or GLib, which this machine lacks: installing the same OpenCV without windows"; \
	    $(PIP) uninstall --quiet --yes opencv-python; \
	    $(PIP) install --quiet --no-deps $$(sed -n 's/^opencv-python==/opencv-python-headless==/p' $(REQUIREMENTS)); }
	@$(RUN) -m tools.install_cuda link
	@$(RUN) -m tools.install_cuda libraries
	@touch $(READY)

clean: ## delete .venv, caches and demo/; runs/ stays
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
