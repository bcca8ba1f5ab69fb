"""Pages: every line of code is run, every link leads somewhere, and README is one screen."""

import doctest
import re
from pathlib import Path

import pytest

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
