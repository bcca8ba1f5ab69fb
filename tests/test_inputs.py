"""Any data: a right answer, or the kind of error that scikit-learn gives; never a crash, a hang or a NaN.

`pytest -m slow tests/test_inputs.py` tries 20,000 cases, in processes of 2,000, and 2,000 of other entry points.
"""

import warnings

import entry_points
import fuzz
import pytest
from programs import run_program

SLOW = [pytest.param(2000, seed, marks=pytest.mark.slow) for seed in range(1, 11)]  # each a run of its own


@pytest.mark.parametrize(("n_cases", "seed"), SLOW)
def test_inputs(n_cases, seed):
    (line,) = run_program("import sys, inputs; inputs.run(*map(int, sys.argv[1:]))", n_cases, seed, limit=3000)
    n_done, *outcomes = line.split()
    assert int(n_done) >= n_cases
    assert len(outcomes) >= 3
    print(line)


@pytest.mark.parametrize("kind", entry_points.KINDS)
def test_a_few_inputs(kind, capsys):
    entry_points.run(kind, 12, is_plain=True)
    assert int(capsys.readouterr().out.split()[0]) >= 12


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in entry_points.KINDS if kind != "fit"])
def test_inputs_of_other_entry_points(kind):
    program = "import sys, entry_points; entry_points.run(sys.argv[1], 500, 1)"
    (line,) = run_program(program, kind, limit=3000)
    n_done, *outcomes = line.split()
    assert int(n_done) >= 500
    assert len(outcomes) >= 3
    print(line)


@pytest.mark.slow
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_what_a_fuzzer_has_found(target):
    """Its corpus, and the files that it began with, once more."""
    kept = [path.read_bytes() for path in sorted((fuzz.CORPUS / target).glob("*"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for content in [*kept, *fuzz.seeds()[target]]:
            fuzz.TARGETS[target](content)
