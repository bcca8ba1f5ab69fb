"""Hard problems: does a fit get to the minimum there, and how soon, beside the peers?

    python benchmarks/hard.py --cifar10 PATH --embeddings DIR --minima DIR       all pairs, all peers: an hour
    python benchmarks/hard.py --ours --quick --minima DIR          ours alone on a few: what it says, and what is true
    python benchmarks/hard.py --profile results/hard.json          the performance profile anew

The problems are those of hard_problems.py, the true minimum is that of minimum.py: slow, so kept in --minima. Each
solver has a process of its own, which is ended where it takes too long. README.md says how it is done.
"""

import argparse
import contextlib
import io
import json
import math
import multiprocessing
import pathlib
import pickle
import statistics
import sys
import tempfile
import time

import hard_problems
import measure
import numpy as np
from compare import Judge
from minimum import minimum
from peers import PEERS, counted_fit, installed

MARKS = (1e-2, 1e-4, 1e-6)
SOLVERS = (
    "ours",
    "sklearn-lbfgs",
    "sklearn-newton-cg",
    "sklearn-newton-cholesky",
    "sklearn-liblinear",
    "sklearnex-lbfgs",
)
CHOLESKY_UNKNOWNS = 5000  # of which newton-cholesky stores and factors a matrix

QUICK = {
    "relu-digits": (1.0,),
    "rare-features": (1.0, 1e4),
    "one-hot-zipf": (1.0, 1e3),
    "one-hot-interactions": (1e3,),
    "bigram-tfidf": (100.0,),
    "wine-cubic": (1e4,),
    "log-normal": (1e3,),
    "nearly-equal": (1.0,),
    "shifted": (100.0,),
    "square": (1e3,),
    "iris-quadratic": (math.inf,),
    "relu-cifar-300": (1.0, 1e4),
}


def chosen(options):
    """The (problem, C) that the options ask for, each problem loaded once."""
    wanted = QUICK if options.quick else {name: f.Cs for name, f in hard_problems.FAMILIES.items()}
    for name in options.problems or wanted:
        family = hard_problems.FAMILIES[name]
        if options.only is not None and family.held_out != (options.only == "held_out"):
            continue
        if not family.available(options):
            measure.note(f"{name} left out: it needs {' and '.join('--' + need for need in family.needs)}")
            continue
        problem = family.load(options)
        for C in options.C or wanted.get(name, family.Cs):
            yield problem, C


# ------------------------------------------------------------------------------------------- what ours says of itself


def check(problem, C, lowest, tol, n_jobs=None):
    """What a fit of ours says of itself, and what is true; a failed fit is a row as well."""
    null = problem.null_objective()
    row = {"problem": problem.name, "C": C}
    start = time.perf_counter()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            model, n_passes, n_products = counted_fit(problem, C=C, tol=tol, n_jobs=n_jobs)
    except Exception as error:
        return {**row, "flags": [repr(error)]}
    seconds = time.perf_counter() - start
    gap = (problem.objective(model.coef_, model.intercept_, C) - lowest.objective) / null
    unsure = lowest.bound / null + 1e-12  # of F*, and of the rounding in F
    stated = model.suboptimality_ / null
    flags = {
        "not converged": not model.converged_,
        "gap above tol": gap > tol + unsure,
        "gap above suboptimality_": gap > stated + unsure,
        "F* unsure": lowest.bound > 1e-9 * null,
    }
    return {
        **row,
        "n_iter": int(model.n_iter_),
        "passes": n_passes,
        "products": n_products,
        "seconds": seconds,
        "converged": bool(model.converged_),
        "suboptimality": float(stated),
        "gap": float(gap),
        "flags": [name for name, flagged in flags.items() if flagged],
    }


COLUMNS = {  # of the table that --ours prints: width and format
    "problem": (22, ""),
    "C": (7, "g"),
    "n_iter": (6, ""),
    "passes": (6, ""),
    "products": (8, ""),
    "seconds": (8, ".3f"),
    "suboptimality": (13, ".1e"),
    "gap": (9, ".1e"),
}


def check_ours(options):
    print("  ".join(f"{name:>{width}}" for name, (width, _) in COLUMNS.items()) + "  flags")
    rows = []
    for problem, C in chosen(options):
        row = check(problem, C, minimum(problem, C, options.minima), options.tol, options.n_jobs)
        cells = (f"{row[key]:>{width}{form}}" if key in row else " " * width for key, (width, form) in COLUMNS.items())
        print("  ".join(cells) + "  " + ", ".join(row["flags"]), flush=True)
        rows.append(row)
    print(verdict(rows))


def verdict(rows):
    """How many of the fits did what they are meant to, in a sentence."""
    done = [row for row in rows if "gap" in row]
    if not done:
        return "No fit was done."
    effort, seconds = [row["passes"] + row["products"] for row in done], sum(row["seconds"] for row in done)
    return (
        f"{len(rows)} fits, {sum(not row['flags'] for row in rows)} of them without a flag; passes and products: "
        f"median {statistics.median(effort):g}, at most {max(effort)}; {seconds:.1f} s in all."
    )


# ------------------------------------------------------------------------------------------------------- the race


def able(peer, problem, C):
    """Whether a solver takes such a problem at all; speed is no reason to leave it out."""
    _, n_features, n_classes = problem.shape
    if peer.name == "sklearn-newton-cholesky":
        return not problem.sparse and n_features * (1 if n_classes == 2 else n_classes) <= CHOLESKY_UNKNOWNS
    if peer.name == "sklearn-liblinear":
        return n_classes == 2 and math.isfinite(C)
    if peer.name == "sklearnex-lbfgs":
        return not problem.sparse and problem.sample_weight is None  # else it hands over to scikit-learn
    return True


def work(connection, name):
    """A solver's process: asked to prepare, to run or to check, it answers with plain data."""
    peer, path = PEERS[name], None
    while (message := connection.recv()) is not None:
        task, data, C, lowest, *rest = message
        if data != path:
            problem, path = pickle.loads(pathlib.Path(data).read_bytes()), data
        try:
            answer = {"prepare": _prepare, "run": _run, "check": _check}[task](peer, problem, C, lowest, *rest)
        except Exception as error:
            answer = repr(error)
        connection.send(answer)


def _prepare(peer, problem, C, lowest):
    peer.prepare(problem, C)
    return {"label": peer.describe()}


def _check(peer, problem, C, lowest):
    return check(problem, C, lowest, tol=1e-6)


def _run(peer, problem, C, lowest, budget, settings):
    """For each mark the setting, the time and the passes; all settings' times where they are given."""
    judge = Judge(problem, C, lowest.objective)
    enough = None if settings else lambda snapshot: judge.gap(snapshot) <= MARKS[-1]
    run = peer.run(problem, C, budget, settings, enough)
    if settings:
        return {"seconds": {s.setting: s.seconds for s in run}}
    reached = judge.reached(peer, run, MARKS)
    best = run[-1] if peer.descends else min(run, key=lambda s: np.nan_to_num(judge.objective(s), nan=np.inf))
    return {
        "reached": {mark: (s.setting, s.seconds, s.passes) for mark, s in reached.items()},
        "lowest_gap": float(judge.gap(best)),
    }


class Worker:
    """A solver in a process of its own, started when asked for the first time and after it has been ended."""

    def __init__(self, peer):
        self.peer, self.process = peer, None

    def ask(self, timeout, *message):
        """The answer; None, and the process ended, where there is none in time. What it says on an error is noted."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.connection, theirs = context.Pipe()
            self.process = context.Process(target=work, args=(theirs, self.peer.name), daemon=True)
            self.process.start()
            theirs.close()
            timeout += 60  # imports
        try:
            self.connection.send(message)
            answer = self.connection.recv() if self.connection.poll(timeout) else f"nothing within {timeout:.0f} s"
        except (EOFError, OSError) as error:
            answer = repr(error)
            self.close()
        if isinstance(answer, str):
            measure.note(f"{self.peer.name}: {message[0]}: {answer}")
            if answer.startswith("nothing"):
                self.close()
            return None
        return answer

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def n_rounds(seconds):
    return 5 if seconds < 0.5 else 3 if seconds < 5 else 1


def race(problem, C, lowest, workers, options, path):
    """Run all solvers on one pair, interleaved; the record of it as plain data."""
    hopeless = options.budget  # seconds: a solver that took so long has lost
    racers, records, settings = [], [], {}
    for worker in workers:
        if not able(worker.peer, problem, C):
            continue
        measure.note(f"{problem.name}, C={C:g}: {worker.peer.name}")
        if (prepared := worker.ask(6 * hopeless + 60, "prepare", path, C, lowest)) is None:
            records.append({"peer": worker.peer.name, "seconds": {}, "passes": {}, "lowest_gap": None})
            continue
        answer = worker.ask(3 * hopeless + 10, "run", path, C, lowest, hopeless, None)
        reached = answer["reached"] if answer else {}
        record = {
            "peer": worker.peer.name,
            **prepared,
            "seconds": {f"{mark:g}": [seconds] for mark, (_, seconds, _) in reached.items()},
            "passes": {f"{mark:g}": passes for mark, (_, _, passes) in reached.items()},
            "lowest_gap": answer["lowest_gap"] if answer else None,
        }
        records.append(record)
        if reached:
            racers.append((worker, record))
            settings[worker] = {f"{mark:g}": setting for mark, (setting, _, _) in reached.items()}
        if worker.peer.name == "ours" and (last := seconds_to(record, MARKS[-1])):
            hopeless = min(hopeless, max(options.least_budget, options.lead * last))
    for i in range(1, 5):
        for worker, record in racers:
            wanted = sorted(set(settings[worker].values()))
            longest = max(times[0] for times in record["seconds"].values())
            if i >= n_rounds(longest if worker.peer.descends else longest * len(wanted)):
                continue
            again = worker.ask(3 * options.budget + 10, "run", path, C, lowest, options.budget, wanted)
            for mark, setting in settings[worker].items():
                if again and setting in again["seconds"]:
                    record["seconds"][mark].append(again["seconds"][setting])
    return {
        "problem": problem.name,
        "held_out": hard_problems.FAMILIES[problem.name].held_out,
        "shape": problem.shape,
        "dtype": str(problem.X.dtype),
        "C": C,
        "lowest_objective": lowest.objective,
        "lowest_objective_bound": lowest.bound,
        "null_objective": problem.null_objective(),
        "records": records,
    }


def compare_all(options):
    workers = [Worker(peer) for peer in installed(options.peers)]
    ours = next((worker for worker in workers if worker.peer.name == "ours"), None)
    results, save = [], None
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for worker in workers:
            stack.callback(worker.close)
        for problem, C in chosen(options):
            path = folder / f"{problem.name}.pickle"
            if not path.exists():
                path.write_bytes(pickle.dumps(problem, protocol=5))
            lowest = minimum(problem, C, options.minima)
            result = race(problem, C, lowest, workers, options, str(path))
            if ours:
                result["ours"] = ours.ask(3 * options.budget + 10, "check", str(path), C, lowest)
                result["ours"] = result["ours"] or {"problem": problem.name, "C": C, "flags": ["no answer"]}
            results.append(result)
            # What is done so far is on disk.
            save = (options.out, options.name, "Hard problems", report(results, options), results)
            measure.save(*save, figure=draw_profile(results), echo=False)
    if save is None:
        sys.exit("no problems chosen")
    measure.save(*save)


# ---------------------------------------------------------------------------------------------------------- report


def seconds_to(record, mark):
    """Median of the times to a mark; None where it was not reached."""
    times = record["seconds"].get(f"{mark:g}")
    return statistics.median(times) if times else None


def by_peer(result, mark):
    """{solver: seconds to the mark, inf where it was not reached}, of those that take the problem."""
    return {record["peer"]: seconds_to(record, mark) or math.inf for record in result["records"]}


def lead(result, mark):
    """The best peer at a mark, and its time as a multiple of ours; inf where no peer got there, 0 where only ours."""
    times = by_peer(result, mark)
    ours = times.pop("ours", math.inf)
    best = min(times, key=times.get, default="")
    if math.isinf(ours):
        return best, 0.0 if best and math.isfinite(times[best]) else math.nan
    return best, times[best] / ours if best else math.inf


def lead_text(result, mark):
    best, ratio = lead(result, mark)
    if math.isnan(ratio):
        return "none got there"
    if math.isinf(ratio):
        return "ours only"
    short = best.removeprefix("sklearn-")
    return f"{short} only" if ratio == 0 else f"{ratio:.3g} x {short}"


TEXT = """\
Seconds until a solver has coefficients within the gap (F - F*) / F(null model), F in float64, F* certified; medians of
interleaved runs. Each solver at its faster number of threads. `n x solver`: the time of the best peer on that pair, as
a multiple of ours. A fit may take {budget:g} s; one of a peer {lead:g} times as long as ours took to 1e-6 if that is
less, but {least_budget:g} s in any case. Passes, products and the gap are those of our default fit.

"""


def report(results, options):
    text = TEXT.format(budget=options.budget, least_budget=options.least_budget, lead=options.lead)
    for title, part in (
        ("All", results),
        ("Families for development", [result for result in results if not result["held_out"]]),
        ("Held out", [result for result in results if result["held_out"]]),
    ):
        if part:
            text += f"{title}: {summary(part)}\n\n"
    header = ["problem", "shape", "C", "passes + products", "gap at tol=1e-6", *(f"ours to {m:g}" for m in MARKS)]
    rows = []
    for result in results:
        ours = [by_peer(result, mark).get("ours", math.inf) for mark in MARKS]
        told = result.get("ours", {})
        name = result["problem"] + (" (held out)" if result["held_out"] else "")
        row = [name, " x ".join(f"{size:,}" for size in result["shape"]), f"{result['C']:g}"]
        row += [f"{told['passes']} + {told['products']}" if "gap" in told else "-"]
        row += [(f"{told['gap']:.1e} " if "gap" in told else "") + ", ".join(told.get("flags", ()))]
        row += ["-" if math.isinf(seconds) else measure.duration(seconds) for seconds in ours]
        rows.append(row + [lead_text(result, mark) for mark in MARKS])
    return text + measure.markdown_table([*header, *(f"best peer to {mark:g}" for mark in MARKS)], rows)


def summary(results):
    """Whether fits got there, and the lead over the best peer of each pair."""
    text = verdict([result["ours"] for result in results if "ours" in result])
    for mark in MARKS:
        leads = [ratio for result in results if not math.isnan(ratio := lead(result, mark)[1])]
        if leads:
            behind = sum(ratio < 1 for ratio in leads)
            text += (
                f" To {mark:g} the best peer takes {statistics.median(leads):.3g} times as long (median of "
                f"{len(leads)} pairs; least {min(leads):.2g}, faster than ours on {behind})."
            )
    return text


def draw_profile(results):
    """Share of the pairs that a solver ends within a multiple of the fastest time (Dolan and More, 2002), by mark."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    style = dict(zip(PEERS, measure.STYLES, strict=True))
    figure, axes = plt.subplots(1, len(MARKS), figsize=(4.2 * len(MARKS), 3.8), sharey=True)
    names = [name for name in PEERS if any(name in by_peer(result, MARKS[0]) for result in results)]
    for ax, mark in zip(axes, MARKS, strict=True):
        ratios = {name: [] for name in names}
        for result in results:
            times = by_peer(result, mark)
            fastest = min(times.values())
            for name, seconds in times.items():
                ratios[name].append(seconds / fastest if math.isfinite(seconds) else math.inf)
        longest = max([10.0, *(r for values in ratios.values() for r in values if math.isfinite(r))])
        for name, values in ratios.items():
            reached = np.sort([r for r in values if math.isfinite(r)])
            share = np.arange(1, len(reached) + 1) / len(values)
            ends = ([1, *reached, 1.5 * longest], [0, *share, share[-1] if len(share) else 0])
            few = f" ({len(values)} of {len(results)} pairs)" if len(values) < len(results) else ""
            ax.step(*ends, where="post", label=name + few, **{**style[name], "marker": ""})
        ax.set(ylim=(0, 1.02), xlim=(1, 1.5 * longest), title=f"to a gap of {mark:g}")
        measure.log_axis(ax.xaxis, "")
        ax.set_xlabel("multiple of the fastest time")
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("share of the pairs")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.set_layout_engine("constrained")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", action="store_true", help="only fits of ours, and what they say of themselves")
    parser.add_argument("--profile", metavar="JSON", help="only draw the profile of a finished run, beside its JSON")
    parser.add_argument("--quick", action="store_true", help="a selection of the pairs")
    parser.add_argument("--problems", nargs="+", choices=hard_problems.FAMILIES, metavar="NAME")
    parser.add_argument("--only", choices=("development", "held_out"), help="one part of the families")
    parser.add_argument("--C", type=float, nargs="+", help="instead of each problem's own values")
    parser.add_argument("--peers", nargs="+", default=SOLVERS, choices=SOLVERS, metavar="NAME", help=", ".join(SOLVERS))
    parser.add_argument("--budget", type=float, default=30, help="seconds that a fit may take at the most (30)")
    parser.add_argument("--least-budget", type=float, default=4, help="seconds that a peer's fit may take anyway (4)")
    parser.add_argument("--lead", type=float, default=20, help="multiple of our time that a peer's fit may take (20)")
    parser.add_argument("--tol", type=float, default=1e-6, help="of --ours")
    parser.add_argument("--n-jobs", type=int, help="threads of --ours (all; 1 where others compute as well)")
    parser.add_argument("--minima", metavar="DIR", help="where true minima are kept once they are computed")
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR", help="where the report goes")
    parser.add_argument("--name", default="hard", help="name of the report's files")
    hard_problems.add_arguments(parser)
    options = parser.parse_args()
    if options.profile:
        file = pathlib.Path(options.profile)
        figure = draw_profile(json.loads(file.read_text())["results"])
        figure.savefig(file.with_suffix(".png"), dpi=110, bbox_inches="tight")
    elif options.ours:
        check_ours(options)
    else:
        compare_all(options)


if __name__ == "__main__":
    main()
