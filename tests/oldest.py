"""Print the lower bounds of pyproject.toml as constraints for pip: the oldest versions that are meant to work."""

import re
from pathlib import Path

# no tomllib: it is for Python 3.10
project = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text()
for dependency in re.findall(r'"([A-Za-z0-9_.-]+>=[^";,]+)', project.partition("[project.optional-dependencies]")[0]):
    if not dependency.startswith("hatchling"):
        print(dependency.replace(">=", "=="))
