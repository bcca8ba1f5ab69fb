"""What the first fit in a fresh process costs, with an empty kernel cache and with a filled one; and the import.

python benchmarks/startup.py
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import measure

# What any user of scikit-learn and numba pays is imported first; the rest is ours.
PROCESS = """
import json, time
clock = time.perf_counter
start = clock()
import numba, sklearn.linear_model
base = clock()
import softmax_clf
imported = clock()
from sklearn.datasets import load_digits
X, y = load_digits(return_X_y=True)
X = X.astype({dtype!r})
before = clock()
softmax_clf.SoftmaxRegressionClassifier().fit(X, y)
fitted = clock()
softmax_clf.SoftmaxRegressionClassifier().fit(X, y)
again = clock()
print(json.dumps({{"import sklearn, numba": base - start, "import softmax_clf": imported - base,
                  "first fit": fitted - before, "second fit": again - fitted}}))
"""


def process(cache, dtype):
    measure.quiet()
    run = subprocess.run(
        [sys.executable, "-c", PROCESS.format(dtype=dtype)],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR")
    options = parser.parse_args()

    results = {}
    for i in range(options.rounds):
        for dtype in ("float64", "float32"):
            with tempfile.TemporaryDirectory() as cache:
                for state in ("empty", "filled"):
                    measure.note(f"round {i + 1}: {dtype}, {state} cache")
                    for name, seconds in process(cache, dtype).items():
                        results.setdefault(f"{dtype}, {state} cache", {}).setdefault(name, []).append(seconds)
    names = list(next(iter(results.values())))
    rows = [[label, *(measure.spread(times[name]) for name in names)] for label, times in results.items()]
    text = (
        "Seconds in fresh processes that fit the digits: median (quartiles). The imports of scikit-learn's linear "
        "models and numba come first, so the other columns are what we add to them.\n\n"
        + measure.markdown_table(["process", *names], rows)
    )
    measure.save(options.out, "startup", "The first fit in a process", text, results)


if __name__ == "__main__":
    main()
