"""What only some systems have is not needed: as Windows and macOS look to the package, tried on this one."""

import pytest
from programs import run_program

FIT = """
import json, sys
import numpy as np
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
from softmax_clf.kernels.jit import cache_state
rng = np.random.default_rng(0)
X = rng.standard_normal((600, 7))
y = (X[:, :3] + rng.gumbel(size=(600, 3))).argmax(axis=1)
clf = SoftmaxRegressionClassifier(n_jobs=3).fit(X, y)
searched = SoftmaxRegressionClassifierCV(Cs=2, cv=2).fit(X, y)
state = cache_state()
print(clf.coef_.tobytes().hex()[:64], searched.C_, state["loads"] > 0, state["misses"], state["faults"])
"""

# numba, scikit-learn and what they import ask for these themselves, and are imported before.
FAKES = {
    "Windows": """
        import os, signal, numba, sklearn.linear_model, sklearn.model_selection, scipy.sparse, joblib, tempfile
        import scipy.special, numba.core.registry, multiprocessing.pool
        names = "fork register_at_fork sched_getaffinity sched_setaffinity geteuid getuid"
        for name in names.split():
            delattr(os, name)
        for name in ("SIGALRM", "setitimer", "SIGUSR1", "SIGKILL"):
            delattr(signal, name)
        os.O_BINARY = 0
    """,
    "macOS": """
        import os, numba, sklearn.linear_model, sklearn.model_selection
        del os.sched_getaffinity, os.sched_setaffinity
    """,
}


@pytest.fixture(scope="module")
def usual():
    (line,) = run_program(FIT)
    return line


@pytest.mark.skipif("not hasattr(__import__('os'), 'sched_getaffinity')", reason="is such a system")
@pytest.mark.parametrize("system", FAKES)
def test_without_what_only_linux_has(system, usual):
    (here,) = run_program(FIT, prelude=FAKES[system])
    assert here.split()[:2] == usual.split()[:2]
    assert here.split()[2:] == ["True", "0", "0"], "the cache is that of this system"


def test_package_asks_for_nothing_unguarded():
    """Names of `os` and `signal` that Windows or macOS lack stand behind a question whether they are there."""
    import ast
    from pathlib import Path

    import softmax_clf

    lacking = {"fork", "register_at_fork", "sched_getaffinity", "sched_setaffinity", "geteuid", "getuid", "sysconf"}
    lacking |= {"setitimer", "SIGALRM", "SIGUSR1", "SIGKILL", "pthread_kill", "chown", "O_DIRECTORY"}
    unguarded = []
    for path in sorted(Path(softmax_clf.__file__).parent.rglob("*.py")):
        text = path.read_text()
        guarded = {name for name in lacking if f'hasattr(os, "{name}")' in text or f'hasattr(signal, "{name}")' in text}
        for node in ast.walk(ast.parse(text)):
            is_named = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if is_named and node.value.id in ("os", "signal") and node.attr in lacking - guarded:
                unguarded.append(f"{path.name}:{node.lineno} {node.value.id}.{node.attr}")
        assert "/proc/" not in text or path.name == "__main__.py", path
    assert unguarded == []
