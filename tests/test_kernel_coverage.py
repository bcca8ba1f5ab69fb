"""Each line of the kernels is run and held to NumPy: in plain Python, and compiled what emits instructions."""

import json

import pytest
from programs import ROOT, run_program

# What chooses kernels or keeps them has tests of its own.
OTHERS = {"__init__", "compiling", "jit", "threads"}
MODULES = sorted(path.stem for path in (ROOT / "softmax_clf" / "kernels").glob("*.py") if path.stem not in OTHERS)

PROGRAM = """
import json, sys
import coverage
how, modules, root = sys.argv[1], sys.argv[2].split(), sys.argv[3]
measured = coverage.Coverage(data_file=None, include=[f"*/softmax_clf/kernels/{module}.py" for module in modules])
measured.start()
import every_kernel
getattr(every_kernel, how)()
measured.stop()
lines = {}
for module in modules:
    _, statements, _, missing, _ = measured.analysis2(f"{root}/softmax_clf/kernels/{module}.py")
    lines[module] = [statements, missing]
print(json.dumps(lines))
"""


def test_every_line(tmp_path):
    pytest.importorskip("coverage")
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}  # what is chosen by the processor is the same
    runs = []
    for how, variables in (
        ("in_plain_python", {"NUMBA_DISABLE_JIT": "1", **generic}),
        ("compiled", {"NUMBA_CACHE_DIR": str(tmp_path)}),  # an empty cache
    ):
        # on one thread: those of the pool are not measured
        (line,) = run_program(PROGRAM, how, " ".join(MODULES), ROOT, limit=600, NUMBA_NUM_THREADS="1", **variables)
        runs.append(json.loads(line))
    plain, compiled = runs
    missing = {module: sorted(set(plain[module][1]) & set(compiled[module][1])) for module in MODULES}
    n_lines = sum(len(plain[module][0]) for module in MODULES)
    print(f"{n_lines} lines; only where compiled: {sum(len(m) for _, m in plain.values())}")
    assert missing == {module: [] for module in MODULES}
