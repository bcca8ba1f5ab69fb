"""How time and memory grow with rows, features, classes and threads; each fit in a process of its own.

python benchmarks/scaling.py
python benchmarks/scaling.py --series rows --largest 100000
"""

import argparse
import json
import math
import os
import subprocess
import sys

import measure
import numpy as np

SIZES = ("rows", "features", "classes")
SERIES = {
    "rows": [(n, 128, 10) for n in (1_000, 10_000, 100_000, 1_000_000, 2_000_000)],
    "features": [(50_000, d, 10) for d in (32, 64, 128, 256, 512, 1024, 2048, 4096)],
    "classes": [(50_000, 256, k) for k in (2, 5, 10, 30, 100, 300, 1000)],
    "threads": [(200_000, 256, 10)],
}


def one_fit(shape, n_cores):
    """The answer of one_fit.py, on so many cores: set before it starts, since BLAS counts them when it is loaded."""
    cpus = sorted(os.sched_getaffinity(0))[:n_cores]
    command = [sys.executable, str(measure.HERE / "one_fit.py"), "powerlaw-{}x{}x{}".format(*shape)]
    run = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, preexec_fn=lambda: os.sched_setaffinity(0, cpus)
    )
    return {"shape": shape, "n_cores": n_cores, **json.loads(run.stdout)}


def along(name, point):
    return point["n_cores"] if name == "threads" else point["shape"][SIZES.index(name)]


def report(results):
    text = (
        "A fit to tol=1e-4 at C=1 and one pass over the same rows, float32, generated data. Power: that with which the "
        "time of a pass has grown since the line above; 1 is linear.\n"
    )
    for name, points in results.items():
        rows = []
        for before, point in zip([None, *points[:-1]], points, strict=True):
            if before is None:
                growth = ""
            elif name == "threads":
                growth = f"{points[0]['pass_seconds'] / point['pass_seconds']:.2f} x"
            else:
                factor = along(name, point) / along(name, before)
                growth = f"{math.log(point['pass_seconds'] / before['pass_seconds'], factor):.2f}"
            rows.append(
                [
                    f"{along(name, point):,}",
                    measure.duration(point["pass_seconds"]),
                    growth,
                    measure.duration(point["seconds"]),
                    point["passes"],
                    f"{point['data_bytes'] / 1e6:,.0f} MB",
                    f"{point['added_bytes'] / 1e6:,.0f} MB",
                ]
            )
        fixed = [f"{size:,} {label}" for label, size in zip(SIZES, points[0]["shape"], strict=True) if label != name]
        header = [name, "a pass", "faster by" if name == "threads" else "power", "fit", "passes", "X", "memory added"]
        text += f"\n## {name.capitalize()} ({', '.join(fixed)})\n\n" + measure.markdown_table(header, rows)
    return text


def draw(results):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(results), figsize=(3.4 * len(results), 5.6), layout="constrained", squeeze=False)
    for (name, points), (top, bottom) in zip(results.items(), axes.T, strict=True):
        x = np.array([along(name, point) for point in points], float)
        quantities = [
            (top, "fit", "seconds"),
            (top, "a pass", "pass_seconds"),
            (bottom, "X itself", "data_bytes"),
            (bottom, "added by the fit", "added_bytes"),
        ]
        for (ax, label, key), style in zip(quantities, measure.STYLES, strict=False):
            ax.plot(x, [max(point[key], 1e-9) for point in points], label=label, **style)
        # A line of slope one through the end that a fixed cost does not show in.
        end, slope = (0, -1) if name == "threads" else (-1, 1)
        top.plot(x, points[end]["pass_seconds"] * (x / x[end]) ** slope, ":", color="grey", label="proportional")
        for ax in (top, bottom):
            ax.set_xlabel(name)
            ax.grid(alpha=0.3)
            measure.log_axis(ax.xaxis)
            measure.log_axis(ax.yaxis, "s" if ax is top else "B")
    for ax in axes[:, 0]:
        ax.legend(fontsize=8)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", nargs="+", default=list(SERIES), choices=SERIES)
    parser.add_argument("--largest", type=int, default=2_000_000, help="leave out more rows than that")
    parser.add_argument("--out", default=measure.RESULTS, metavar="DIR")
    options = parser.parse_args()

    results = {}
    for name in options.series:
        results[name] = []
        for shape in SERIES[name]:
            shape = (min(shape[0], options.largest), *shape[1:])
            if results[name] and shape == results[name][-1]["shape"]:
                continue
            for n_cores in range(1, measure.cores() + 1) if name == "threads" else [measure.cores()]:
                measure.note(f"{name}: {shape}, {n_cores} cores")
                results[name].append(one_fit(shape, n_cores))
    measure.save(options.out, "scaling", "How it scales", report(results), results, draw(results))


if __name__ == "__main__":
    main()
