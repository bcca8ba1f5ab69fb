"""Programs within tests are Python, and import what there is: those of slow tests are run rarely, and fall behind."""

import ast
import importlib
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
NAMES = ("code", "PROGRAM", "PRELUDE", "FIT", "LONG_FIT", "KERNELS", "FEW", "MANY")  # of variables that hold programs


def programs(path):
    """Line and text of each program."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        named = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in NAMES
        if named and isinstance(node.value, ast.Constant) and "\n" in str(node.value.value):
            yield node.lineno, node.value.value


def missing(text):
    """What a program imports from the package that is not there."""
    for node in ast.walk(ast.parse(textwrap.dedent(text))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "softmax_clf":
            module = importlib.import_module(node.module)
            modules = (
                {path.stem for path in Path(module.__file__).parent.glob("*")} if hasattr(module, "__path__") else ()
            )
            for alias in node.names:
                if not hasattr(module, alias.name) and alias.name not in modules:
                    yield f"{node.module}.{alias.name}"


@pytest.mark.parametrize("path", sorted(TESTS.glob("test_*.py")), ids=lambda path: path.stem)
def test_programs_import_what_there_is(path):
    for line, text in programs(path):
        assert not list(missing(text)), f"{path.name}:{line}"


def test_a_program_that_has_fallen_behind_is_seen():
    assert list(missing("from softmax_clf.kernels.softmax import exp_float32\n")) == [
        "softmax_clf.kernels.softmax.exp_float32"
    ]
    with pytest.raises(SyntaxError):
        list(missing("    import json\nfrom softmax_clf import kernels\n    import os\n"))
