"""The pages of docs/ speak of what is there."""

import re
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
