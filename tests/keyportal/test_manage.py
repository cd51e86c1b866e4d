"""What an operator meets who names the wrong place."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_command_on_an_empty_place_says_what_to_do(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "KEYPORTAL_DATA_DIR": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "manage.py", "revoke_key", "kp_sk_live_a1B2c3D4"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("The database cannot be used: ")
    assert "make run" in ended.stderr
    assert "Traceback" not in ended.stderr
