"""Pages: every line of code is run, every link leads somewhere, and README is one screen."""

import doctest
import importlib
import os
import re
import subprocess
import sys
from email.message import Message
from pathlib import Path

import pytest

import softmax_clf
from softmax_clf import SoftmaxRegressionClassifier, documentation
from softmax_clf.features import Flatten

ROOT = Path(__file__).parents[1]
RUN = [ROOT / "README.md", ROOT / "docs" / "guide.md", *sorted((ROOT / "docs").glob("from_*.md"))]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
OURS = "`softmax_clf`"  # the heading of columns whose code is run


def name(page):
    return page.relative_to(ROOT).as_posix()


def pieces(text):
    """Line number and code of each fenced block that is marked as Python and no more, and of each cell of ours."""
    for match in FENCE.finditer(text):
        if match[1] == "python":
            yield text.count("\n", 0, match.start()) + 1, match[2]
    column = None
    for number, line in enumerate(text.splitlines(), start=1):
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if OURS in cells:
            column = cells.index(OURS)
        elif not cells:
            column = None
        elif column is not None:
            for code in re.findall(r"`([^`]+)`", cells[column]):
                yield number, code


def run(code, place, names):
    """Run a piece, an example of doctest or plain code, with the names that those before have left."""
    if ">>>" not in code:
        exec(compile(code, place, "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(code, names, place, place, 0)
    told = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=told.append, clear_globs=False)
    names.update(test.globs)
    assert not told, "".join(told)


@pytest.mark.parametrize("page", RUN, ids=name)
def test_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for number, code in sorted(pieces(page.read_text(encoding="utf-8"))):
        run(code, f"{name(page)}, line {number}", names)


def anchors(page):
    """The names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


def test_the_site_has_all_pages():
    """Each page is in the navigation once; the build, which this does not do, would warn of the others."""
    docs = ROOT / "docs"
    text = (docs / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^(\w+)$", "".join(re.findall(r"^```{toctree}\n(.*?)^```", text, re.DOTALL | re.M)), re.M)
    assert sorted([*listed, "index"]) == sorted(page.stem for page in docs.glob("*.md"))


def test_the_reference_has_all_public_names():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for module in ("softmax_clf", *(f"softmax_clf.{name}" for name in softmax_clf._SUBMODULES)):
        section = text.split(f".. currentmodule:: {module}\n")[1].split("```")[0]
        names = re.findall(r"^   (\w+)$", section, re.MULTILINE)
        package = importlib.import_module(module)
        public = getattr(package, "__all__", names)
        assert sorted(names) == sorted(name for name in public if callable(getattr(package, name))), module


@pytest.mark.slow
def test_site_in_a_browser(tmp_path):
    """Built with warnings as errors; then every page is opened, at the width of a desk and of a phone."""
    pytest.importorskip("sphinx_gallery")
    pytest.importorskip("playwright")
    site = tmp_path / "site"
    environment = os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(site)]
    subprocess.run(build, cwd=ROOT, env=environment, check=True)
    told = subprocess.run([sys.executable, "docs/look.py", str(site)], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


def test_views_in_notebooks_lead_to_pages_of_the_reference(monkeypatch):
    """To the page that the site has of the class; nowhere, where the package was built without an address."""
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    monkeypatch.setattr(documentation, "address", lambda: "https://here/")
    for module, kind in (("softmax_clf", SoftmaxRegressionClassifier), ("softmax_clf.features", Flatten)):
        link = f"https://here/generated/{module}.{kind.__name__}.html"
        assert kind()._get_doc_link() == link
        assert link in kind()._repr_html_()
        assert kind.__name__ in text.split(f".. currentmodule:: {module}\n")[1].split("```")[0]
    monkeypatch.setattr(documentation, "address", lambda: "")
    assert SoftmaxRegressionClassifier()._get_doc_link() == ""


def test_the_address_is_that_of_the_installed_package(monkeypatch):
    told = Message()
    told["Project-URL"] = "Source, https://there/"
    told["Project-URL"] = "Documentation, https://here/"
    monkeypatch.setattr(documentation, "metadata", lambda name: told)
    assert documentation.address.__wrapped__() == "https://here/"
    monkeypatch.setattr(documentation, "metadata", lambda name: Message())
    assert documentation.address.__wrapped__() == ""


def test_readme_is_one_screen():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 120


def test_pieces_are_found_where_they_stand():
    text = (
        "```bash\nx\n```\n\n| a | `softmax_clf` |\n|---|---|\n| `no` | `x = 1` and `y = 2` |\n\n```python\nz = 3\n```\n"
    )
    assert sorted(pieces(text)) == [(7, "x = 1"), (7, "y = 2"), (9, "z = 3\n")]
    names = {}
    run(">>> 1 + 1\n2\n>>> a = 5\n", "here", names)
    assert names["a"] == 5
    with pytest.raises(AssertionError, match="Expected"):
        run(">>> 1 + 1\n3\n", "here", {})
