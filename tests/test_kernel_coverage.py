"""Each line of the kernels is run by a small program: kernels in plain Python, and what emits instructions compiled."""

import json

import pytest
from programs import ROOT, run_program

# What chooses kernels or keeps them has tests of its own: jit.py, threads.py.
MODULES = ["convert", "csr", "dense", "gram", "lasso", "search", "softmax", "tiles"]

# Every kernel; arrays are small, as plain Python takes a microsecond for what a kernel does in a nanosecond.
PROGRAM = """
import json, sys, warnings
import coverage
modules = sys.argv[1].split()
measured = coverage.Coverage(data_file=None, include=[f"*/softmax_clf/kernels/{module}.py" for module in modules])
measured.start()
import numpy as np
from test_plain_python import fits, more_fits
warnings.simplefilter("ignore")
fits()
more_fits()
measured.stop()
lines = {}
for module in modules:
    _, statements, _, missing, _ = measured.analysis2(f"{sys.argv[2]}/softmax_clf/kernels/{module}.py")
    lines[module] = [statements, missing]
print(json.dumps(lines))
"""


@pytest.mark.slow
def test_every_line(tmp_path):
    pytest.importorskip("coverage")
    runs = []
    for variables in (
        {"NUMBA_DISABLE_JIT": "1"},
        {"NUMBA_CACHE_DIR": str(tmp_path)},
    ):  # an empty cache: all is compiled
        (line,) = run_program(PROGRAM, " ".join(MODULES), ROOT, limit=900, **variables)
        runs.append(json.loads(line))
    plain, compiled = runs
    missing = {module: sorted(set(plain[module][1]) & set(compiled[module][1])) for module in MODULES}
    n_lines = sum(len(plain[module][0]) for module in MODULES)
    print(f"{n_lines} lines, not run: {missing}; only where compiled: {sum(len(m) for _, m in plain.values())}")
    assert missing == {module: [] for module in MODULES}
