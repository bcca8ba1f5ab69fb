"""Time to reach a given gap to the optimum: ours side by side with scikit-learn, scikit-learn-intelex and PyTorch.

    python benchmarks/compare.py                                   generated image-like data, and scikit-learn's own
    python benchmarks/compare.py --cifar10 PATH --embeddings DIR --cache DIR --memory
    python benchmarks/compare.py --problems digits --peers ours sklearn-lbfgs

The gap is (F - F*) / F(null model), F evaluated in float64 by NumPy outside the timing. README.md says how it is done.
"""

import argparse
import bisect
import json
import math
import statistics
import subprocess
import sys
import warnings

import measure
import numpy as np
from peers import PEERS, installed

import problems

MARKS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # drawn
TABLE_MARKS = (1e-2, 1e-3, 1e-4, 1e-6)


def headline_mark(result):
    """Small data is fitted to the end, image features to where the test accuracy no longer moves."""
    return 1e-6 if result["small"] else 1e-4


def lowest_objective(problem, C):
    """F at the end of a long fit of ours in float64."""
    from softmax_clf import SoftmaxRegressionClassifier

    X = problem.X.astype(np.float64, copy=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = SoftmaxRegressionClassifier(C=C, tol=1e-10, max_iter=10_000).fit(X, problem.y)
    for warning in caught:
        measure.note(f"reference fit: {warning.message}")
    return problem.objective(model.coef_, model.intercept_, C)


def n_rounds(seconds):
    """Repetitions of a run of this length: noise matters most for short ones."""
    return 9 if seconds < 1 else 3 if seconds < 30 else 1


class Judge:
    """Evaluates F at snapshots, outside the timing, and finds those that are within a gap of the minimum."""

    def __init__(self, problem, C, lowest=None):
        self.problem, self.C, self.lowest = problem, C, lowest
        self.null = problem.null_objective()

    def objective(self, snapshot):
        if snapshot.objective is None:
            with np.errstate(all="ignore"):
                snapshot.objective = float(self.problem.objective(snapshot.coef, snapshot.intercept, self.C))
        return snapshot.objective

    def gap(self, snapshot):
        return (self.objective(snapshot) - self.lowest) / self.null

    def first_within(self, peer, snapshots, mark):
        """The snapshot had soonest whose gap is at most the mark, or None."""
        if peer.descends:
            found = snapshots[bisect.bisect_left(snapshots, True, key=lambda s: self.gap(s) <= mark) :]
        else:
            found = [snapshot for snapshot in snapshots if self.gap(snapshot) <= mark]
        return min(found, key=lambda snapshot: snapshot.seconds, default=None)

    def reached(self, peer, snapshots, marks):
        """{mark: the snapshot had soonest within it}."""
        return {mark: found for mark in marks if (found := self.first_within(peer, snapshots, mark))}


def compare(problem, C, peers, budget):
    """Run all peers on one problem, interleaved; the record of it as plain data."""

    judge = Judge(problem, C)
    objective, gap = judge.objective, judge.gap
    first_runs = {}
    for peer in peers:
        measure.note(f"{problem.name}, C={C:g}: {peer.name}")
        peer.prepare(problem, C)
        first_runs[peer] = peer.run(problem, C, budget)
    lowest = lowest_objective(problem, C)
    for peer, run in first_runs.items():
        seen = [objective(snapshot) for snapshot in (run[-1:] if peer.descends else run)]
        lowest = min([lowest, *(value for value in seen if math.isfinite(value))])
    judge.lowest = lowest

    reached = {peer: judge.reached(peer, run, MARKS) for peer, run in first_runs.items()}
    times = {peer: {mark: [s.seconds] for mark, s in marks.items()} for peer, marks in reached.items()}
    for i in range(1, 9):
        for peer, marks in reached.items():
            settings = sorted({snapshot.setting for snapshot in marks.values()})
            length = max((s.seconds for s in marks.values()), default=math.inf)
            if i >= n_rounds(length if peer.descends else length * len(settings)):
                continue
            again = peer.run(problem, C, budget, settings)
            for mark, snapshot in marks.items():
                # The same setting leads to the same point; only its time is new.
                seconds = [s.seconds for s in again if s.setting == snapshot.setting]
                times[peer][mark] += seconds[:1]

    records = []
    for peer, run in first_runs.items():
        best = run[-1] if peer.descends else min(run, key=lambda s: np.nan_to_num(objective(s), nan=np.inf))
        shown = reached[peer].get(1e-4, best)
        curve = [(statistics.median(times[peer][m]), gap(s)) for m, s in reached[peer].items()]
        records.append(
            {
                "peer": peer.name,
                "label": peer.describe(),
                "n_threads": peer.n_threads,
                "seconds": {f"{mark:g}": values for mark, values in times[peer].items()},
                "passes": {f"{mark:g}": snapshot.passes for mark, snapshot in reached[peer].items()},
                "settings": {f"{mark:g}": snapshot.setting for mark, snapshot in reached[peer].items()},
                "longest_fit": max(s.seconds for s in run),
                "lowest_gap": gap(best),
                "test_accuracy": problem.accuracy(shown.coef, shown.intercept),
                "curve": [*curve, (best.seconds, gap(best))],
            }
        )
    return {
        "problem": problem.name,
        "shape": problem.shape,
        "dtype": str(problem.X.dtype),
        "small": problem.small,
        "C": C,
        "lowest_objective": lowest,
        "null_objective": judge.null,
        "records": records,
    }


def added_memory(name, C, peer, options):
    """Peak memory that a fit adds to what held the data, in bytes, measured in a fresh process."""
    command = [sys.executable, str(measure.HERE / "one_fit.py"), name, "--peer", peer.name, "--C", str(C)]
    for option in ("cifar10", "embeddings", "cache", "rows"):
        if getattr(options, option):
            command += [f"--{option}", str(getattr(options, option))]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(answer)["added_bytes"]


# ------------------------------------------------------------------------------------------------------------ report


def median_seconds(record, mark):
    values = record["seconds"].get(f"{mark:g}")
    return statistics.median(values) if values else None


def ratio(record, ours, mark):
    """How much longer than ours, as text; a lower bound where the mark was not reached."""
    if ours is None or (best := median_seconds(ours, mark)) is None:
        return ""
    seconds = median_seconds(record, mark)
    multiple = (record["longest_fit"] if seconds is None else seconds) / best
    return ("> " if seconds is None else "") + (f"{multiple:,.0f} x" if multiple >= 100 else f"{multiple:.3g} x")


def our_record(result):
    return next((record for record in result["records"] if record["peer"] == "ours"), None)


def summary(results):
    names = list(dict.fromkeys(r["peer"] for result in results for r in result["records"] if r["peer"] != "ours"))
    rows = []
    for result in results:
        mark, ours = headline_mark(result), our_record(result)
        by_name = {record["peer"]: record for record in result["records"]}
        seconds = median_seconds(ours, mark) if ours else None
        row = [result["problem"], f"{result['C']:g}", f"{mark:g}", measure.duration(seconds) if seconds else "-"]
        rows.append(row + [ratio(by_name[name], ours, mark) if name in by_name else "" for name in names])
    table = measure.markdown_table(["problem", "C", "gap", "ours", *names], rows)
    return f"Time to the gap, as a multiple of ours:\n\n{table}"


def details(result):
    n_samples, n_features, n_classes = result["shape"]
    text = (
        f"\n## {result['problem']}, C = {result['C']:g}\n\n{n_samples:,} x {n_features:,} {result['dtype']}, "
        f"{n_classes} classes; F* = {result['lowest_objective']:.9g}, F(null) = {result['null_objective']:.4g}\n\n"
    )
    with_memory = any("added_bytes" in record for record in result["records"])
    header = ["solver", *(f"{mark:g}" for mark in TABLE_MARKS), "passes to 1e-4", "lowest gap", "test accuracy"]
    rows = []
    for record in result["records"]:
        row = [record["label"]]
        for mark in TABLE_MARKS:
            seconds = median_seconds(record, mark)
            multiple = ratio(record, our_record(result), mark) if record["peer"] != "ours" else ""
            row.append(
                (measure.duration(seconds) if seconds is not None else "-") + (f" ({multiple})" if multiple else "")
            )
        row += [record["passes"].get("0.0001", "-"), f"{record['lowest_gap']:.1e}", f"{record['test_accuracy']:.2%}"]
        if with_memory:
            added = record.get("added_bytes")
            row.append("" if added is None else f"{added / 1e6:,.0f} MB")
        rows.append(row)
    return text + measure.markdown_table([*header, "memory added"] if with_memory else header, rows)


def draw(results):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    n_columns = min(3, len(results))
    n_rows = -(-len(results) // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(4.2 * n_columns, 3.2 * n_rows + 0.5), squeeze=False)
    style = dict(zip(PEERS, measure.STYLES, strict=True))
    for ax, result in zip(axes.flat, results, strict=False):
        for record in result["records"]:
            curve = np.array(sorted(record["curve"]))
            lowest_by_then = np.fmin.accumulate(np.maximum(curve[:, 1], 1e-9))
            ax.plot(curve[:, 0], lowest_by_then, label=record["peer"], **style[record["peer"]])
        ax.set(yscale="log", ylim=(1e-8, 2))
        measure.log_axis(ax.xaxis, "s")
        ax.set_title(f"{result['problem']}, C = {result['C']:g}", fontsize=9)
        ax.grid(alpha=0.3)
    for ax in axes.flat[len(results) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("(F - F*) / F(null model)")
    handles = {label: h for ax in axes.flat for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    figure.set_layout_engine("constrained")
    return figure


TEXT = """\
Seconds until a solver has coefficients within the gap (F - F*) / F(null model), F in float64; median of interleaved
runs. `-`: not within {budget:g} s or 1000 iterations, and then `> n x` compares what it had used up. Each peer at the
number of threads, 1 or all, that was faster for it. Passes: evaluations of loss and gradient; iterations (Newton),
epochs (AdamW). Test accuracy is that at the gap 1e-4, or at the lowest gap where that was not reached.

"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=list(problems.LOADERS), metavar="NAME")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS, metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--C", type=float, nargs="+", help="instead of each problem's own values")
    parser.add_argument("--budget", type=float, default=120, help="seconds that a fit may take (120)")
    parser.add_argument("--memory", action="store_true", help="measure the peak memory added by a fit as well")
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR", help="where the report goes")
    parser.add_argument("--name", default="compare", help="name of the report's files")
    problems.add_arguments(parser)
    options = parser.parse_args()

    peers = installed(options.peers)
    results = []
    for name in options.problems:
        problem = problems.load(name, options)
        for C in options.C or problem.Cs:
            suited = [peer for peer in peers if peer.suits(problem)]
            result = compare(problem, C, suited, options.budget)
            if options.memory:
                for peer, record in zip(suited, result["records"], strict=True):
                    record["added_bytes"] = added_memory(name, C, peer, options)
            results.append(result)
            # A full comparison takes hours: what is done so far is on disk.
            text = TEXT.format(budget=options.budget) + summary(results) + "".join(map(details, results))
            save = (options.out, options.name, "Time to a given gap", text, results)
            measure.save(*save, figure=draw(results), echo=False)
    measure.save(*save)


if __name__ == "__main__":
    main()
