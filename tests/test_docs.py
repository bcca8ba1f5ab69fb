"""The pages of docs/ speak of what is there."""

import functools
import importlib.util
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))


def test_there_are_pages():
    assert {"method.md", "stopping.md", "kernels.md", "traps.md", "extending.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_are_there(page):
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("*.py"))
    for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")):
        assert f"def {name}(" in tests or (ROOT / "tests" / f"{name}.py").exists(), name


def test_pages_that_code_names_are_there():
    named = set()
    for path in [*(ROOT / "softmax_clf").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]:
        named |= set(re.findall(r"docs/(\w+\.md)", path.read_text(encoding="utf-8")))
    assert named <= {page.name for page in PAGES}
    assert {"method.md", "stopping.md", "kernels.md", "traps.md"} <= named


@functools.cache
def constants():
    """Constants on the page, and those in the code, as benchmarks/calibrate.py reads them."""
    spec = importlib.util.spec_from_file_location("calibrate", ROOT / "benchmarks" / "calibrate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [*module.on_page()], [*module.constants()]


def test_constants_are_found():
    """Or a page that lacks them would do."""
    found = {(place, name): value for place, name, value in constants()[1]}
    assert found["metrics/kinds.py", "BlocksMetric.slack"] == "10"
    assert found["model_selection/held_out.py", "_WAIT"] == "4"
    assert "1.5" in found["metrics/plan.py", "_candidates()"].split(", ")
    assert len(found) > 150


# Tuned more often than a page is written: their values are put right before a release.
TUNED = ("solvers/", "metrics/plan.py")


def test_each_constant_has_one_row():
    """Remedy: a row of docs/constants.md, or none where there is no such constant any more."""
    on_page, in_code = constants()
    rows = Counter((place, name) for place, name, _ in on_page)
    assert max(rows.values()) == 1
    code = {(place, name) for place, name, _ in in_code}
    assert not code - rows.keys()
    assert not {row for row in rows.keys() - code if not row[0].startswith(TUNED)}


def test_values_on_the_page_are_those_of_the_code():
    """Remedy: python benchmarks/calibrate.py --write, and a look at what the page says of what has changed."""
    page, code = (sorted(constant for constant in found if not constant[0].startswith(TUNED)) for found in constants())
    assert page == code
