"""Draws which rooms of the package import which, as they were at some commits: `python docs/imports.py 15034f6 HEAD`.

A room is a file or a folder of softmax_clf/. For each commit there is a table in docs/_static/imports-COMMIT.svg, named
`before` and `after` where two commits are given: a row a room, a dot in the column of each room that it imports. Rooms
stand so that dots are right of the diagonal: an arrow down. What no order brings there is a circle, and red. Beside
it are printed the figures for docs/architecture.md.
"""

import argparse
import ast
import subprocess
from pathlib import Path

DOCS = Path(__file__).parent
CELL, MARGIN, FONT = 15, 150, 11  # pixels
INK, PALE, RED = "#6b7280", "#6b728033", "#dc2626"  # legible on white and on dark paper


def sources_at(commit):
    """Path below softmax_clf/ -> text of each module as `commit` has it."""

    def git(*words):
        return subprocess.run(["git", *words], cwd=DOCS.parent, capture_output=True, text=True, check=True).stdout

    paths = git("ls-tree", "-r", "--name-only", commit, "softmax_clf/").split()
    return {
        path.removeprefix("softmax_clf/"): git("show", f"{commit}:{path}") for path in paths if path.endswith(".py")
    }


def sources_in(folder):
    """The same of the files in a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))
    }


class Imports:
    """Which modules import which, read off their texts.

    Modules have dotted names inside the package, '' for its __init__.

    Parameters
    ----------
    sources : dict
        Path below softmax_clf/ -> text.
    """

    def __init__(self, sources):
        self.trees, self.packages = {}, {""}
        for path, text in sources.items():
            parts = path.removesuffix(".py").split("/")
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if parts[-1] == "__init__":
                self.packages.add(name)
            self.trees[name] = ast.parse(text)

    def names(self, name):
        """Absolute names that a module imports anywhere in its text, functions and `if TYPE_CHECKING` included."""
        found = set()
        for node in ast.walk(self.trees[name]):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = self._base(name, node)
                for alias in node.names:
                    member = f"{base}.{alias.name}"
                    is_module = base.startswith("softmax_clf") and member.removeprefix("softmax_clf.") in self.trees
                    found.add(member if is_module else base)
        return found

    def _base(self, name, node):
        """The absolute name of what `from ... import` imports from."""
        base = node.module or ""
        if node.level:
            parts = ["softmax_clf", *name.split(".")] if name else ["softmax_clf"]
            parts = parts[: len(parts) - node.level + (name in self.packages)]
            base = ".".join([*parts, base] if base else parts)
        return base

    def of_ours(self, name):
        """Modules of the package that a module imports."""
        ours = {imported for imported in self.names(name) if imported.split(".")[0] == "softmax_clf"}
        return {imported.removeprefix("softmax_clf").removeprefix(".") for imported in ours}

    def arrows(self):
        """Module -> modules that it imports, without the package's own __init__ and __main__."""
        names = self.trees.keys() - {"", "__main__"}
        return {name: (self.of_ours(name) & names) - {name} for name in sorted(names)}

    def rooms(self):
        """Room -> rooms that it imports."""
        rooms = {}
        for name, imported in self.arrows().items():
            rooms.setdefault(room(name), set()).update({room(other) for other in imported} - {room(name)})
        return rooms


def room(name):
    return name.split(".")[0]


def in_order(rooms):
    """Rooms from the top down, each above all that it imports where that can be, and otherwise by their names.

    What is imported by none that is left comes next; where each is imported by another there is a circle, and the first
    is taken.
    """
    left, order = dict(rooms), []
    while left:
        tops = [name for name in left if not any(name in left[other] for other in left if other != name)]
        name = max(tops or left, key=lambda name: (len(rooms[name]), name))
        order.append(name)
        del left[name]
    return order


def drawing(rooms):
    """A table of the arrows between rooms, SVG."""
    order = in_order(rooms)
    size = MARGIN + CELL * len(order)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size + 2} {size + 2}" width="{size + 2}"'
    lines = [f'{head} font-family="sans-serif" font-size="{FONT}" fill="{INK}">']

    def place(i):
        return MARGIN + CELL * i + CELL / 2

    for i, name in enumerate(order):
        at = place(i)
        lines.append(f'<path d="M{MARGIN} {at}H{size}M{at} {MARGIN}V{size}" stroke="{PALE}"/>')
        lines.append(f'<text x="{MARGIN - 6}" y="{at + FONT / 3:.1f}" text-anchor="end">{name}</text>')
        lines.append(f'<text transform="translate({at + FONT / 3:.1f} {MARGIN - 6}) rotate(-90)">{name}</text>')
        lines.append(f'<rect x="{at - CELL / 2}" y="{at - CELL / 2}" width="{CELL}" height="{CELL}" fill="{PALE}"/>')
    for i, name in enumerate(order):
        for j in sorted(order.index(imported) for imported in rooms[name]):
            what = f"<title>{name} imports {order[j]}</title>"
            lines.append(
                f'<circle cx="{place(j)}" cy="{place(i)}" r="4" fill="{INK if j > i else RED}">{what}</circle>'
            )
    return "\n".join([*lines, "</svg>\n"])


def figures(imports):
    """What is said of a commit: modules, rooms, arrows among them, and those of a circle."""
    arrows, rooms = imports.arrows(), imports.rooms()
    order = in_order(rooms)
    up = sum(order.index(imported) < order.index(name) for name, found in rooms.items() for imported in found)
    n_modules, n_arrows = len(arrows), sum(map(len, arrows.values()))
    most = max(arrows, key=lambda name: len(arrows[name]))
    return (
        f"{n_modules} modules, {n_arrows} arrows ({n_arrows / n_modules:.1f} a module; most, {len(arrows[most])}, from "
        f"{most}); {len(rooms)} rooms, {sum(map(len, rooms.values()))} arrows, {up} of them up"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commits", nargs="*", default=["HEAD"])
    commits = parser.parse_args().commits
    names = ["before", "after"] if len(commits) == 2 else commits
    for commit, name in zip(commits, names, strict=True):
        imports = Imports(sources_at(commit))
        (DOCS / "_static" / f"imports-{name}.svg").write_text(drawing(imports.rooms()), encoding="utf-8")
        print(f"{name} ({commit}): {figures(imports)}")


if __name__ == "__main__":
    main()
