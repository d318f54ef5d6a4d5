"""The typed API, as a type checker sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_public_api_is_typed_and_misuse_is_found() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", str(HERE / "api.py")]
    checked = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
