"""Did this change make anything slower? Two states of the project, interleaved, in under two minutes.

    python benchmarks/guard.py                 the last commit against the working tree
    python benchmarks/guard.py main my-branch
    python benchmarks/guard.py HEAD~3 --fail-above 1.1

A worker process for each of the two answers in turn, case by case, so that a drift of the machine hits both; a ratio is
taken within each turn. Only the public interface is used, so that any two commits can be compared.
"""

import argparse
import contextlib
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import measure

PROJECT = measure.HERE.parent


def cases():
    """{name: function}; small enough that all of them take about a second."""
    from hard_problems import FAMILIES
    from sklearn.datasets import load_digits, load_iris

    from problems import powerlaw
    from softmax_clf import SoftmaxRegressionClassifier as Classifier

    def fit(X, y, **parameters):
        return lambda: Classifier(**parameters).fit(X, y)

    iris, digits = load_iris(return_X_y=True), load_digits(return_X_y=True)
    probe, wide, binary = powerlaw(20_000, 512, 10), powerlaw(5_000, 2048, 10), powerlaw(50_000, 64, 2)
    many = powerlaw(5_000, 256, 100)
    fitted = Classifier(tol=1e-2).fit(*probe)
    hard = {"iris-cubic": 1e3, "cancer-quadratic": 1.0, "cauchy": 1.0, "square": 1e3}  # and yet soon done
    return {
        "fit iris, C=1": fit(*iris),
        "fit digits, C=1": fit(*digits),
        "fit digits, C=1000": fit(*digits, C=1000),
        "fit 20,000 x 512 x 10": fit(*probe, tol=1e-4),
        "fit 5,000 x 2,048 x 10": fit(*wide, tol=1e-4),
        "fit 50,000 x 64 x 2": fit(*binary, tol=1e-4),
        "fit 5,000 x 256 x 100": fit(*many, tol=1e-4),
        **{f"fit {name}, C={C:g}": fit(*FAMILIES[name].make(None), C=C) for name, C in hard.items()},
        "predict_proba 20,000 x 512 x 10": lambda: fitted.predict_proba(probe[0]),
        "predict_proba, one row": lambda: fitted.predict_proba(probe[0][:1]),
    }


def work():
    """A worker: told a case's name, answers with its seconds. Run with the state of the project first on the path."""
    warnings.simplefilter("ignore")
    known = cases()
    print(" | ".join(known), flush=True)
    for line in sys.stdin:
        try:
            print(measure.seconds(known[line.strip()], at_least=0.05), flush=True)
        except Exception as error:  # a commit may not know a parameter yet
            print("nan", flush=True)
            measure.note(f"{line.strip()}: {error!r}")


class Worker:
    def __init__(self, folder):
        path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, str(measure.HERE / "guard.py"), "--worker"],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.cases = self.process.stdout.readline().strip().split(" | ")

    def seconds(self, case):
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@contextlib.contextmanager
def checkout(revision, folder):
    """The project at a revision, in a worktree of its own; the working tree itself for None."""
    if revision is None:
        yield PROJECT
        return
    git = ["git", "-C", str(PROJECT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def compare(base, head, budget):
    """{case: ([seconds of base], [seconds of head])}, a pair per turn, until the time is up."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        workers = []
        for i, revision in enumerate((base, head)):
            path = stack.enter_context(checkout(revision, pathlib.Path(folder, f"state-{i}")))
            workers.append(Worker(path))
            stack.callback(workers[-1].close)
        times = {case: ([], []) for case in workers[0].cases}
        for case in times:  # kernels compiled
            for worker in workers:
                worker.seconds(case)
        turn = 0
        while time.perf_counter() - start < budget or turn < 3:
            for case, pair in times.items():
                for i in (0, 1) if turn % 2 else (1, 0):  # neither always comes after the other
                    pair[i].append(workers[i].seconds(case))
            turn += 1
        return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", default="HEAD")
    parser.add_argument("head", nargs="?", help="the working tree by default")
    parser.add_argument("--budget", type=float, default=90, help="seconds, compilation included (90)")
    parser.add_argument("--fail-above", type=float, help="exit with 1 if a median ratio exceeds this")
    parser.add_argument("--out", metavar="DIR", help="also write a report there")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work()
        return

    times = compare(options.base, options.head, options.budget)
    rows, slower = [], []
    for case, (base, head) in times.items():
        ratios = [b / a for a, b in zip(base, head, strict=True)]
        if any(map(math.isnan, ratios)):
            rows.append([case, "-", "-", "not in both"])
            continue
        rows.append([case, *(measure.duration(statistics.median(t)) for t in (base, head)), measure.spread(ratios)])
        if options.fail_above and statistics.median(ratios) > options.fail_above:
            slower.append(case)
    head = options.head or "working tree"
    table = measure.markdown_table(["case", options.base, head, f"{head} / {options.base}: median (quartiles)"], rows)
    print(f"{measure.describe(measure.environment())}\n{table}")
    if options.out:
        measure.save(options.out, "guard", f"{options.base} against {head}", table, times, echo=False)
    if slower:
        sys.exit(f"slower than {options.fail_above} x: {', '.join(slower)}")


if __name__ == "__main__":
    main()
