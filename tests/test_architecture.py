"""The rules of the house, read off the import statements.

An arrow points down only: multi output -> label sets, path -> model selection -> estimator -> training data,
prediction -> validation; fitting -> row space, pooled -> sums -> metrics -> objective -> solvers, sources -> kernels.
What stands beside (inspection, features, interop, datasets) is imported by none of these.
"""

import ast
import functools
import importlib.util
import itertools
import json
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path

import pytest
from sklearn.datasets import load_iris

import softmax_clf
from softmax_clf.kernels.dense import DensePass

PACKAGE = Path(softmax_clf.__file__).parent

# What each part of the package may import of the others, and of the world: None is anything that is installed
# with the package. `kernels.jit` and `kernels.threads` are the two modules of kernels that meet the machine.
BELOW_FITS = {"metrics", "objective", "penalty", "rows", "solvers", "sources", "kernels"}
OURS = {
    "multi_output": {
        "fitted",
        "documentation",
        "estimator",
        "label_sets",
        "labels",
        "messages",
        "model_selection",
        "parameters",
        "rows",
        "sklearn_private",
        "sources",
        "kernels",
        "validation",
    },
    "label_sets": {
        "estimator",
        "labels",
        "metrics",
        "model_selection",
        "penalty",
        "rows",
        "sources",
        "kernels",
        "training_data",
    },
    "path": {"model_selection", "training_data", "callbacks"},
    "model_selection": {
        "sklearn_private",
        "parameters",
        "estimator",
        "prediction",
        "training_data",
        "validation",
        "messages",
        "callbacks",
        "columns",
        "leave_one_out",
        "pooled",
        "strengths",
        "sums",
        *BELOW_FITS,
    },
    "estimator": {
        "parameters",
        "sklearn_private",
        "prediction",
        "training_data",
        "validation",
        "fitting",
        "messages",
        "watch",
        "online",
        "callbacks",
        "fitted",
        "labels",
        "objective",
        "penalty",
        "pooled",
        "sources",
        "kernels",
    },
    "prediction": {
        "sklearn_private",
        "callbacks",
        "documentation",
        "fitted",
        "labels",
        "validation",
        "messages",
        "rows",
        "sources",
        "kernels",
    },
    "training_data": {"contracts", "messages", "refusals", "validation", "rows", "sources"},
    "refusals": {"sources"},
    "validation": {"sklearn_private", "refusals", "fitted", "labels", "sources", "kernels"},
    "fitting": {"columns", "dual", "row_space", "pooled", "objective", "solvers", "kernels"},
    "pooled": {"sums", "labels", "training_data", "validation", "metrics", "objective", "rows", "sources"},
    "sums": {"labels", "metrics", "rows", "sources", "kernels"},
    "strengths": {
        "estimator",
        "callbacks",
        "fitting",
        "training_data",
        "validation",
        "watch",
        "messages",
        "objective",
        "penalty",
        "kernels",
    },
    "columns": {"sources", "kernels"},
    "messages": set(),
    "watch": {"messages", "solvers"},
    "sklearn_private": set(),
    "parameters": {"sklearn_private"},
    "leave_one_out": {"rows", "kernels"},
    "callbacks": set(),
    "documentation": set(),
    "fitted": set(),
    "labels": set(),
    "online": {"metrics", "solvers", "kernels"},
    "dual": set(),
    "row_space": {"metrics", "objective", "kernels"},
    "metrics": {"contracts", "solvers", "kernels"},
    "objective": {"penalty", "rows", "kernels"},
    "penalty": {"solvers"},
    "rows": {"kernels"},
    "solvers": {"contracts"},
    "contracts": set(),
    "sources": {"kernels"},
    "kernels": set(),
}
NUMERIC = {"numpy", "scipy"}
WORLD = {
    "estimator": {*NUMERIC, "sklearn"},
    "path": {"numpy", "sklearn"},
    "multi_output": {*NUMERIC, "sklearn"},
    "label_sets": {*NUMERIC, "sklearn"},
    "model_selection": {*NUMERIC, "sklearn"},
    "parameters": set(),
    "prediction": {*NUMERIC, "sklearn"},
    "training_data": NUMERIC,
    "validation": {*NUMERIC, "sklearn"},
    "fitting": NUMERIC,
    "pooled": NUMERIC,
    "sums": NUMERIC,
    "columns": NUMERIC,
    "strengths": NUMERIC,
    "messages": NUMERIC,
    "watch": NUMERIC,
    "leave_one_out": NUMERIC,
    "callbacks": {"sklearn"},
    "sklearn_private": {"sklearn"},
    "documentation": set(),
    "fitted": NUMERIC,
    "labels": NUMERIC,
    "refusals": NUMERIC,
    "online": NUMERIC,
    "dual": NUMERIC,
    "row_space": NUMERIC,
    "metrics": NUMERIC,
    "contracts": NUMERIC,
    "objective": NUMERIC,
    "penalty": NUMERIC,
    "rows": NUMERIC,
    "solvers": NUMERIC,
    "sources": {*NUMERIC, "joblib", "threadpoolctl"},
    "sources.dask": {"numpy", "joblib", "dask"},
    "kernels": {"numpy", "numba", "llvmlite"},
    "kernels.gram": {*NUMERIC, "numba"},  # BLAS and LAPACK
    "kernels.jit": {"numpy", "numba", "llvmlite"},
    "kernels.threads": {"numpy", "joblib", "threadpoolctl"},
}
BESIDE = {"decisions", "inspection", "features", "interop", "datasets"}


def reader():
    """The module docs/imports.py, which reads imports off the sources, and draws them."""
    spec = importlib.util.spec_from_file_location("imports", PACKAGE.parent / "docs" / "imports.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_reader = reader()
IMPORTS = _reader.Imports(_reader.sources_in(PACKAGE))


def modules():
    """Dotted name inside the package ('' for its __init__) -> syntax tree."""
    return IMPORTS.trees


def imports_of_the_world(name):
    top = {imported.split(".")[0] for imported in IMPORTS.names(name)}
    return top - {"softmax_clf"} - sys.stdlib_module_names


def part(name):
    return name.split(".")[0]


CORE = sorted(name for name in modules() if part(name) in OURS)


def test_imports_are_read():
    """The reader finds what is known to be there, or every other test here would pass on nothing."""
    assert {"estimator", "objective", "solvers", "sources", "kernels", "kernels.jit", "kernels.threads"} <= set(CORE)
    assert "numba" in imports_of_the_world("kernels.jit")
    assert "joblib" in imports_of_the_world("kernels.threads")
    assert "estimator" in IMPORTS.of_ours("")
    assert "fitting" in IMPORTS.of_ours("estimator")
    assert "kernels.gram" in IMPORTS.of_ours("metrics.grams")


@pytest.mark.parametrize("name", CORE)
def test_arrows_point_down(name):
    allowed = OURS[part(name)] | {part(name)}
    assert {part(imported) for imported in IMPORTS.of_ours(name)} <= allowed


def test_drawings_show_arrows_and_circles():
    """On rooms that are known: an arrow is a dot, and what points up is red."""
    texts = {"__init__.py": "", "a.py": "from .b.c import f", "b/__init__.py": "", "b/c.py": "import math"}
    rooms = _reader.Imports(texts).rooms()
    assert rooms == {"a": {"b"}, "b": set()}
    assert _reader.drawing(rooms).count("<circle") == 1
    assert _reader.RED not in _reader.drawing(rooms)
    rooms["b"].add("a")
    assert _reader.drawing(rooms).count(f'r="4" fill="{_reader.RED}"') == 1


def test_rows_come_to_a_kernel_through_each_file_once(monkeypatch):
    """The files on the stack from `fit` to a pass."""
    seen, loss_gradient = set(), DensePass.loss_gradient

    def spy(self, *args):
        names = [Path(frame.filename) for frame in traceback.extract_stack()[:-1]]
        files = [name.relative_to(PACKAGE).as_posix() for name in names if PACKAGE in name.parents]
        seen.add(tuple(file for file, _ in itertools.groupby(files)))
        return loss_gradient(self, *args)

    monkeypatch.setattr(DensePass, "loss_gradient", spy)
    softmax_clf.SoftmaxRegressionClassifier().fit(*load_iris(return_X_y=True))
    (way,) = seen
    assert way[0] == "estimator.py"
    assert way[-1] == "objective.py"
    assert len(set(way)) == len(way)


@pytest.mark.parametrize("name", CORE)
def test_dependencies_stay_in_their_layer(name):
    allowed = WORLD.get(name, WORLD[part(name)])
    assert imports_of_the_world(name) <= allowed


def test_every_module_has_its_place():
    parts = {part(name) for name in modules()}
    assert parts <= {"", "__main__", *OURS, *BESIDE}


def test_what_stands_beside_is_imported_by_none():
    for name in ["", *CORE]:
        assert not {part(imported) for imported in IMPORTS.of_ours(name)} & BESIDE, name


def test_nothing_imports_itself_in_a_circle():
    """Counting an import of a package's member as one of the member, not of the package."""
    arrows = IMPORTS.arrows()
    while arrows:
        leaves = {name for name, imported in arrows.items() if not imported & arrows.keys() - {name}}
        assert leaves, f"a circle among {sorted(arrows)}"
        arrows = {name: imported for name, imported in arrows.items() if name not in leaves}


def attribute_paths(tree):
    """Every dotted name in a syntax tree, as 'numba.config.X'."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names = [node.attr]
            while isinstance(node.value, ast.Attribute):
                node = node.value
                names.append(node.attr)
            if isinstance(node.value, ast.Name):
                yield ".".join([node.value.id, *reversed(names)])


COMPILERS = {"jit", "njit", "vectorize", "guvectorize", "stencil", "cfunc", "generated_jit"}


@pytest.mark.parametrize("name", sorted(modules()))
def test_one_decorator_compiles(name):
    """Flags and cache are decided in kernels/jit.py only."""
    if name == "kernels.jit":
        return
    tree = modules()[name]
    assert not {f"numba.{compiler}" for compiler in COMPILERS} & set(attribute_paths(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "numba":
            assert not COMPILERS & {alias.name for alias in node.names}


@pytest.mark.parametrize("name", sorted(modules()))
def test_numba_is_left_as_it_is(name):
    """No parallel kernels, no fastmath that makes isnan a constant, and none of numba's globals is set."""
    tree = modules()[name]
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("parallel", "fastmath"):
            assert not (isinstance(node.value, ast.Constant) and node.value.value is True), ast.unparse(node)
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            written = " ".join(ast.unparse(target) for target in targets)
            assert "environ" not in written
            assert "numba.config" not in written
    paths = set(attribute_paths(tree))
    assert not {"numba.prange", "numba.set_num_threads", "numba.set_parallel_chunksize", "os.putenv"} & paths


@pytest.mark.parametrize("name", [name for name in CORE if part(name) == "kernels"])
def test_loop_indices_are_intp(name):
    """A narrow loop index wraps silently: no `range` over something cast to a narrow integer."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
            assert not any(narrow in ast.unparse(node) for narrow in ("int8", "int16", "int32"))


@functools.cache
def fresh_import():
    """What a fresh interpreter tells of ``import softmax_clf``, and then of all that this names: one for all tests.

    What numba and scikit-learn bring is there before. numba reports every compilation; the function compiled at the end
    shows that it does.
    """
    program = """
        import json, sys, threading
        import numba, sklearn.linear_model
        from numba.core import event
        modules, n_threads = set(sys.modules), threading.active_count()
        with event.install_recorder("numba:compile") as recorder:
            import softmax_clf
            told = {"loaded": sorted(set(sys.modules) - modules), "n_compiled": len(recorder.buffer)}
            told["n_threads"] = threading.active_count() - n_threads
            numba.njit(lambda x: x + 1)(1)
            told["n_recorded"] = len(recorder.buffer)
        told["public"], told["dir"] = softmax_clf.__all__, dir(softmax_clf)
        for name in dir(softmax_clf):
            getattr(softmax_clf, name)
        told["has"] = [hasattr(softmax_clf.inspection, "signed_distances"), hasattr(softmax_clf, "other")]
        told["loaded_then"] = sorted(set(sys.modules) - modules)
        print(json.dumps(told))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


HEAVY = {"matplotlib", "dask", "torch", "pandas", "polars", "rich", "skimage", "onnx", "PIL"}


def test_import_is_light():
    """No plotting, cluster, deep learning or data frame library comes with `import softmax_clf`.

    Only what scikit-learn imports by itself (1.9: pandas, where it is installed) may be there.
    """
    loaded = {name.partition(".")[0] for name in fresh_import()["loaded"]}
    assert "softmax_clf" in loaded
    assert not loaded & HEAVY


LAZY = {"sources.dask"}  # imported where there is a Dask collection


@pytest.mark.parametrize("name", ["", *sorted(set(CORE) - LAZY)])
def test_heavy_libraries_are_not_even_asked_for(name):
    assert not imports_of_the_world(name) & HEAVY


def test_import_compiles_nothing():
    told = fresh_import()
    assert told["n_compiled"] == 0
    assert told["n_recorded"] > 0


def test_import_starts_no_thread():
    assert fresh_import()["n_threads"] == 0


def test_submodules_are_imported_when_asked_for():
    """``softmax_clf.inspection`` needs no import of its own; dir() names what is public and nothing else."""
    told = fresh_import()
    submodules = ["datasets", "decisions", "features", "inspection", "interop"]
    assert not {f"softmax_clf.{name}" for name in submodules} & set(told["loaded"])
    assert told["dir"] == sorted([*told["public"], *submodules, "sums", "__version__"])  # which fits use
    assert told["has"] == [True, False]


def test_inspection_imports_no_matplotlib():
    loaded = fresh_import()["loaded_then"]
    assert "softmax_clf.inspection" in loaded
    assert "matplotlib" not in loaded
