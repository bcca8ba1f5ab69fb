"""What pages link to outside docs/, gathered into the site, so that links that work on GitHub work there too."""

import ast
import importlib
import os
import re
import shutil
from pathlib import Path

import docutils.nodes

DOCS = Path(__file__).parent
ROOT = DOCS.parent
GATHERED = DOCS / "_gathered"
NOT_RUN = ["linear_probe_torch.py"]  # needs torch, which brings gigabytes
MODULES = [
    "softmax_clf",
    *(f"softmax_clf.{name}" for name in ("datasets", "decisions", "features", "inspection", "interop")),
]
PLACES = {
    "README.md": "index.md",
    "softmax_clf": "api.md",
    "examples": "gallery/index.rst",
    "benchmarks": "benchmarks/README.md",
}
LINK = re.compile(r"(\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
PICTURES = {".png", ".svg", ".jpg"}
LANGUAGES = {".py": "python", ".yml": "yaml", ".sh": "bash", ".toml": "toml", ".txt": "text", ".R": "r"}


def setup(app):
    app.connect("config-inited", gather, priority=100)  # before the gallery looks for its examples
    app.connect("source-read", turn_links)
    app.connect("doctree-resolved", cut_back_references)
    return {"parallel_read_safe": True}


def gather(app, config):
    """Copy pages, pictures and examples, and make a page of each source file that one of them links to."""
    shutil.rmtree(GATHERED, ignore_errors=True)
    copy_examples()
    waiting, done = [*pages(), ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"], set()
    while waiting:
        page = waiting.pop()
        if page in done:
            continue
        done.add(page)
        if DOCS not in page.parents:
            place(page).parent.mkdir(parents=True, exist_ok=True)
            if page.suffix != ".md":
                place(page).write_text(source_page(page), encoding="utf-8")
            else:
                shutil.copy(page, place(page))
        for target in targets(page):
            if target.suffix in PICTURES:
                if DOCS not in target.parents:
                    place(target).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(target, place(target))
            elif str(target.relative_to(ROOT)) not in PLACES and target.parent != ROOT / "examples":
                waiting.append(target)


def public_methods():
    """By the name of each public class, the methods that this package has written: the others are scikit-learn's."""
    found = {}
    for module in map(importlib.import_module, MODULES):
        for cls in (getattr(module, name) for name in getattr(module, "__all__", vars(module))):
            if isinstance(cls, type):
                ours = [vars(base) for base in cls.__mro__ if base.__module__.startswith("softmax_clf")]
                names = {name for base in ours for name in base if not re.match(r"_|set_\w+_request$", name)}
                found[f"{module.__name__}.{cls.__name__}"] = sorted(names)
    return found


def cut_back_references(app, doctree, docname):
    """Take out links from citations back to where they are cited, which numpydoc leaves without a place."""
    for citation in doctree.findall(docutils.nodes.citation):
        citation["backrefs"] = []


def pages():
    return [page for page in sorted(DOCS.glob("*.md")) if not page.name.startswith("_")]


def copy_examples():
    """Examples with a heading over what they say of themselves, as the gallery wants it."""
    folder = GATHERED / "examples"
    folder.mkdir(parents=True)
    (folder / "GALLERY_HEADER.rst").write_text(
        "Gallery\n=======\n\nEach example answers one question and runs without a network. Those that can be given\n"
        "data of one's own say so at their top.\n",
        encoding="utf-8",
    )
    for example in sorted((ROOT / "examples").glob("*.py")):
        text = example.read_text(encoding="utf-8")
        title, _, rest = ast.get_docstring(ast.parse(text), clean=False).partition("\n")
        start = text.index('"""') + 3
        end = text.index('"""', start)
        head = f"{title}\n{'=' * len(title)}\n{literal(rest)}"
        (folder / example.name).write_text(f"{text[:start]}{head}{text[end:]}", encoding="utf-8")


def literal(text):
    """Commands, which stand alone or are indented, as what they are."""
    lines, before = [], ""
    for line in text.split("\n"):
        is_command = line.lstrip().startswith(("python ", "gunicorn "))
        if is_command and not before.lstrip().startswith(("python ", "gunicorn ")):
            lines += [".. code-block:: bash", ""]
        lines.append(f"    {line.strip()}" if is_command else line)
        before = line
    return "\n".join(lines)


def targets(page):
    """Files and folders of the repository that a page links to, or that lie in a folder."""
    if page.is_dir():
        yield from sorted(page.glob("*.py"))
        return
    if page.suffix != ".md":
        return
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for _, target, _ in LINK.findall(text):
        path = target.partition("#")[0]
        if path and not re.match(r"\w+:", path):
            yield (page.parent / path).resolve()


def place(target):
    """Where in the folder of the pages a file of the repository lies."""
    if DOCS in target.parents and GATHERED not in target.parents:
        return target
    path = target.relative_to(ROOT)
    if str(path) in PLACES:
        there = PLACES[str(path)]
        return DOCS / there if (DOCS / there).exists() or there.startswith("gallery") else GATHERED / there
    if path.parts[0] == "examples" and path.suffix == ".py":
        return DOCS / "gallery" / f"{path.stem}.rst"
    if path.suffix == ".md" or path.suffix in PICTURES:
        return GATHERED / ("pictures" if path.parts[0] == "examples" else "") / path
    return GATHERED / "source" / f"{path}.md"


def source_page(file):
    """A page that shows a source file, or names those in a folder."""
    path = file.relative_to(ROOT).as_posix()
    if file.is_dir():
        files = "".join(f"- [{source.name}]({file.name}/{source.name}.md)\n" for source in targets(file))
        return f"---\norphan: true\n---\n\n# {path}\n\n{files}"
    inside = os.path.relpath(file, place(file).parent)
    return (
        f"---\norphan: true\n---\n\n# {path}\n\n```{{literalinclude}} {inside}\n"
        f":language: {LANGUAGES.get(file.suffix, 'text')}\n```\n"
    )


def turn_links(app, docname, source):
    """Let links of a page lead to what was gathered."""
    page = Path(app.env.doc2path(docname))
    if page.suffix != ".md" or "source" in page.relative_to(DOCS).parts or "generated" in page.parts:
        return
    original = page if GATHERED not in page.parents else ROOT / page.relative_to(GATHERED)
    fences = FENCE.findall(source[0])
    parts = FENCE.split(source[0])

    def turned(match):
        target, hash_, anchor = match[2].partition("#")
        if not target or re.match(r"\w+:", target):
            return match[0]
        there = place((original.parent / target).resolve())
        return f"{match[1]}{Path(os.path.relpath(there, page.parent)).as_posix()}{hash_}{anchor}{match[3]}"

    parts = [LINK.sub(turned, part) for part in parts]
    source[0] = "".join(part + fence for part, fence in zip(parts, [*fences, ""], strict=True))
