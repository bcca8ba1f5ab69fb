"""Programs that tests run in a process of their own, with a limit of time."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("LOKY_MAX_CPU_COUNT", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")


def run_program(code, *arguments, limit=120, prelude="", **variables):
    """Run a program and return the lines that it printed; it must end by itself, in time and without a complaint.

    Parameters
    ----------
    code : str
        The program; it can import from ``tests/`` and finds the arguments in ``sys.argv``.
    *arguments : object
        Passed as text.
    limit : float
        Seconds until the program, and all that it has started, is killed and the test fails.
    prelude : str
        What is run before.
    **variables : str
        Of the environment, beyond those of this process.
    """
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    given = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests"), *([given] if given else [])])
    command = [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(code), *map(str, arguments)]
    process = subprocess.Popen(
        command,
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=os.name != "nt",
    )
    try:
        stdout, stderr = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        _kill(process)
        pytest.fail(f"not done after {limit} s; it wrote: {process.communicate()}")
    assert process.returncode == 0, stderr[-5000:]
    return stdout.splitlines()


def _kill(process):
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, 9)


def rounds(slow, quick=None):
    """Numbers of rounds of a test: of ``pytest -m slow``, and of a plain run, which has none where that is None."""
    plain = [] if quick is None else [quick]
    return pytest.mark.parametrize("n_rounds", [*plain, pytest.param(slow, marks=pytest.mark.slow)])
