"""What the first fit in a fresh process costs, with an empty kernel cache and with a filled one; and the import.

python benchmarks/startup.py
python benchmarks/startup.py --data iris CSR --rounds 3
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import measure

# Each names X and y; `digits` and `rng` are there.
DATA = {
    "digits": "X, y = digits",
    "digits, float32": "X, y = digits[0].astype(numpy.float32), digits[1]",
    "digits, uint8": "X, y = digits[0].astype(numpy.uint8), digits[1]",
    "iris": "X, y = sklearn.datasets.load_iris(return_X_y=True)",
    "5,000 x 64, 3 classes": "X = rng.standard_normal((5000, 64)); y = (X[:, :3] + rng.random((5000, 3))).argmax(1)",
    "CSR": "X, y = scipy.sparse.random(2000, 500, 0.02, 'csr', random_state=0), rng.integers(0, 3, 2000)",
}

# What any user of scikit-learn and numba pays is imported first; the rest is ours.
PROCESS = """
import json, time
clock = time.perf_counter
start = clock()
import numba, sklearn.linear_model
base = clock()
import softmax_clf
imported = clock()
import numpy, scipy.sparse, sklearn.datasets
digits, rng = sklearn.datasets.load_digits(return_X_y=True), numpy.random.default_rng(0)
{data}
before = clock()
softmax_clf.SoftmaxRegressionClassifier().fit(X, y)
fitted = clock()
softmax_clf.SoftmaxRegressionClassifier().fit(X, y)
again = clock()
print(json.dumps({{"import sklearn, numba": base - start, "import softmax_clf": imported - base,
                  "first fit": fitted - before, "second fit": again - fitted}}))
"""


def process(cache, data):
    measure.quiet()
    run = subprocess.run(
        [sys.executable, "-c", PROCESS.format(data=DATA[data])],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=DATA, choices=DATA, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR")
    options = parser.parse_args()

    results = {}
    for i in range(options.rounds):
        for data in options.data:
            with tempfile.TemporaryDirectory() as cache:
                for state in ("empty", "filled"):
                    measure.note(f"round {i + 1}: {data}, {state} cache")
                    for name, seconds in process(cache, data).items():
                        results.setdefault(f"{data}, {state} cache", {}).setdefault(name, []).append(seconds)
    names = list(next(iter(results.values())))
    theirs, *ours = names[:3]
    rows = []
    for label, times in results.items():
        ratios = [sum(run[1:]) / run[0] for run in zip(*(times[name] for name in (theirs, *ours)), strict=True)]
        rows.append([label, *(measure.spread(times[name]) for name in names), measure.spread(ratios)])
    text = (
        "Seconds in fresh processes: median (quartiles). The imports of scikit-learn's linear models and numba come "
        "first, so the other columns are what we add to them; the last is our import and the first fit, relative to "
        "those imports.\n\n" + measure.markdown_table(["process", *names, "relative"], rows)
    )
    measure.save(options.out, "startup", "The first fit in a process", text, results)


if __name__ == "__main__":
    main()
