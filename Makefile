# `make demo` and `make test` need nothing but Python 3.11+, make and the package registries: they set up their own
# virtual environments (.venv with everything but the cluster engines; .venv-demo with the runtime and the demo's data,
# without torch).

PYTHON ?= python3
PIP_FLAGS ?= --disable-pip-version-check --quiet
VENV := .venv
DEMO_VENV := .venv-demo
BIN := $(VENV)/bin
STAMPS := .stamps
ARGS ?=
# Logs with costs that lie beside the project; without them, three arms' outcomes that the package paretobandit carries.
RECORDED := $(patsubst %,../shared/data/%.parquet,paretobandit routellm_gsm8k routellm_mmlu mmlu_pro zeroeval)
PACKAGED_LOG := .recorded/paretobandit.parquet
LOGS ?= $(or $(wildcard $(RECORDED)),$(PACKAGED_LOG))
PARETO_LOG ?= $(or $(wildcard ../shared/data/paretobandit.parquet),$(PACKAGED_LOG))
COVERAGE_LOGS ?= $(PARETO_LOG) $(wildcard ../shared/data/routellm_mmlu.parquet)
OTHERS := default,disjoint,dlinucb,pilot,pilot_cosine,lints,epsilon_greedy,epoch_greedy,knn,static,ucb_floor,softmax,threshold,primal_dual,unpaced
BATTLES ?= ../shared/data/qlora_oa_prefs.parquet

.PHONY: help demo test venv lint types imports protos protos-check check compare prior-study experiments ope-coverage bench soak fmt clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

demo: $(STAMPS)/demo ## Route 3,609 recorded prompts through a real server: make demo ARGS="--budget 0.0003"
	$(DEMO_VENV)/bin/bandit-router demo $(ARGS)

test: venv ## Lint, types, import rules, and every test but the long ones
	$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest tests

check: venv lint types imports ## Everything that reads the code without running it

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: venv
	$(BIN)/mypy

imports: venv
	$(BIN)/lint-imports
	$(BIN)/deptry .

protos: venv ## Regenerate bandit_router/v1 from protos/
	$(BIN)/python tools/protos.py generate

protos-check: venv ## Compare generated code, lint the protos, look for breaking changes
	$(BIN)/python tools/protos.py check
	$(BIN)/python tools/protos.py lint
	$(BIN)/python tools/protos.py breaking

compare: venv $(filter $(PACKAGED_LOG),$(LOGS)) ## The default beside peers and references on every log with costs, at most 2,500 queries each, then beside every other policy, at most 600 (three hours on one core; run again to go on)
	$(BIN)/bandit-router-sim compare $(LOGS) --seeds 20 --budgets 5 --max-rows 2500 --out comparison $(ARGS)
	$(BIN)/bandit-router-sim compare $(LOGS) --seeds 20 --budgets 5 --max-rows 600 --policies $(OTHERS) --peers none --references static_mix --out comparison/policies $(ARGS)

$(PACKAGED_LOG): | $(STAMPS)/venv
	@mkdir -p $(@D)
	$(BIN)/bandit-router-sim convert paretobandit --out $@ \
		$$($(BIN)/python -c 'from importlib.resources import files; print(*sorted((files("pareto_bandit") / "data" / "examples").glob("*.jsonl")))')

prior-study: venv ## What priors are worth: battles foretold, decisions saved (an hour)
	$(BIN)/bandit-router-sim prior-study $(LOGS) --battles $(BATTLES) --out prior-study.md $(ARGS)

experiments: venv ## Changing prices, quality and arms against ParetoBandit; late and rare feedback (three hours on one core)
	$(BIN)/bandit-router-sim experiments $(PARETO_LOG) --seeds 20 --out experiments $(ARGS)

ope-coverage: venv $(filter $(PACKAGED_LOG),$(COVERAGE_LOGS)) ## How often the off-policy intervals hold the truth; the tables go into docs/ope-coverage.md (half an hour)
	$(BIN)/python -m bandit_router_sim.ope.coverage --logs 1000 --data $(COVERAGE_LOGS) --write docs/ope-coverage.md $(ARGS)

bench: venv ## Benchmarks: ratios within one run
	$(BIN)/python -m pytest tests/bench -m bench -s --timeout 1800

soak: venv ## Long fault and property runs; SOAK_S=300 is how long faults last, KILLS_S=600 each kill run, POWER_S=180, LAG_S=60
	$(BIN)/python -m pytest tests -m soak -s --timeout 3600

fmt: venv ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

venv: $(STAMPS)/venv

$(STAMPS)/venv: pyproject.toml constraints.txt | $(STAMPS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[demo,sentence-transformers,sim,peers,dev]'
	@touch $@

$(STAMPS)/demo: pyproject.toml constraints.txt | $(STAMPS)
	$(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[demo]'
	@touch $@

$(STAMPS):
	@mkdir -p $@

clean: ## Remove environments and caches
	rm -rf $(VENV) $(DEMO_VENV) $(STAMPS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
