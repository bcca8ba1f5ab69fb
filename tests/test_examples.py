"""What a newcomer runs: the examples, with what README says to install, and their pictures."""

import ast
import importlib.util
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))
# what `pip install '.[examples]'` brings; torch has an extra of its own
INSTALLED = {"joblib", "matplotlib", "numpy", "PIL", "scipy", "skimage", "sklearn", "softmax_clf", "threadpoolctl"}
OF_ITS_OWN = {"linear_probe_torch": {"torch"}}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_need_what_their_extra_brings(path):
    """Pandas is not among it, which scikit-learn imports for `as_frame=True`."""
    needed = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            needed |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            needed.add(node.module.split(".")[0])
        elif isinstance(node, ast.keyword) and node.arg == "as_frame":
            needed.add("pandas")
    others = {other.stem for other in EXAMPLES}
    assert needed <= INSTALLED | OF_ITS_OWN.get(path.stem, set()) | others | sys.stdlib_module_names


def test_panels_that_are_compared_have_one_size(tmp_path):
    """Of the hyperplanes for three values of C, the last one with a legend: a centimetre is as long in each."""
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    path = next(path for path in EXAMPLES if path.stem == "plot_hyperplanes")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    example.main(Namespace(out=tmp_path / "hyperplanes.png"))
    sizes = [ax.get_window_extent().size for ax in plt.gcf().axes]
    plt.close()
    assert len(sizes) == 3
    np.testing.assert_allclose(sizes, np.tile(sizes[0], (3, 1)), rtol=1e-3)
