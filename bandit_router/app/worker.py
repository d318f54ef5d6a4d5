"""The process of one worker: `python -m bandit_router.app.worker`, started by `workers` and by nobody else."""

from __future__ import annotations

import sys

from bandit_router.app.config import Config
from bandit_router.app.serve import run

if __name__ == "__main__":
    sys.exit(run(Config.model_validate_json(sys.stdin.readline()), is_worker=True))
