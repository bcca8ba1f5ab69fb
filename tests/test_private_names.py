"""Names that other packages do not promise, each imported in one module, and what of them is relied upon."""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from test_architecture import IMPORTS, modules

from softmax_clf import sklearn_private


def private_imports(tree):
    """Names of scikit-learn that are imported from a private module, or are private themselves."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sklearn":
            is_private = any(part.startswith("_") for part in node.module.split("."))
            yield from (alias.name for alias in node.names if is_private or alias.name.startswith("_"))


@pytest.mark.parametrize("name", sorted(modules()))
def test_private_names_of_scikit_learn_have_one_home(name):
    found = set(private_imports(modules()[name]))
    assert (name == "sklearn_private") == bool(found)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("fit_context", ["prefer_skip_nested_validation"]),
        ("safe_indexing", ["X", "indices"]),
        ("get_namespace", ["arrays"]),
        ("Interval", ["type", "left", "right", "closed"]),
        ("StrOptions", ["options"]),
        ("raise_for_params", ["params", "owner", "method"]),
        ("routing_enabled", []),
        ("check_column_names", ["estimator", "X", "reset"]),
        ("check_feature_names_in", ["estimator", "input_features"]),
        ("check_method_params", ["X", "params", "indices"]),
        ("check_sample_weight", ["sample_weight", "X", "dtype", "ensure_non_negative"]),
        ("get_feature_names", ["X"]),
    ],
)
def test_private_names_take_what_they_are_given(name, parameters):
    assert name in sklearn_private.__all__
    assert set(parameters) <= set(inspect.signature(getattr(sklearn_private, name)).parameters)


def test_a_scorer_tells_its_parts():
    """Of scorers too: the function, its arguments, its sign and the method that it looks at."""
    from sklearn.metrics import get_scorer

    function, fixed, method, sign = sklearn_private.parts_of_scorer(get_scorer("neg_log_loss"))
    assert isinstance(fixed, dict)
    assert (method, sign) == ("predict_proba", -1)
    assert np.isfinite(function([0, 1], [[0.5, 0.5], [0.5, 0.5]]))
    assert sklearn_private.parts_of_scorer(print) is None


# numba.core is numba's own; what of it the cache is made of is tried at import, and tests/test_jit.py takes it away.
HOMES = {
    "numba.core": {"kernels.jit", "kernels.tiles", "kernels.csr", "kernels.elementary", "kernels.compiling"},
    "_thread": {"kernels.threads"},
}


@pytest.mark.parametrize("module", HOMES)
def test_private_modules_have_a_home(module):
    found = {name for name in modules() if any(f"{i}.".startswith(f"{module}.") for i in IMPORTS.names(name))}
    assert found == HOMES[module]


def test_private_names_of_numba():
    from numba.core import cgutils
    from numba.core.caching import NullCache
    from numba.core.compiler import CompileResult
    from numba.core.registry import cpu_target
    from numba.core.serialize import dumps

    for name in ("alloca_once", "for_range", "for_range_slice", "get_or_insert_function"):
        assert callable(getattr(cgutils, name))
    assert callable(NullCache)
    assert callable(CompileResult._reduce)
    assert callable(CompileResult._rebuild)
    assert cpu_target.target_context.codegen().magic_tuple()
    assert dumps(1)


def test_private_names_of_the_standard_library():
    from _thread import start_new_thread

    assert callable(start_new_thread)


ROOT = Path(__file__).parent.parent


def test_the_oldest_dependencies_are_those_of_the_project():
    """What `.ci/run oldest` installs is what pyproject.toml admits."""
    oldest = dict(re.findall(r"^([\w.-]+)==([\d.]+)$", (ROOT / ".ci/oldest.txt").read_text(), re.M))
    admitted = dict(re.findall(r'"([\w.-]+)>=([\d.]+)', (ROOT / "pyproject.toml").read_text()))
    assert {"numba", "numpy", "scikit-learn", "scipy"} <= set(oldest)
    assert oldest.items() <= admitted.items()
