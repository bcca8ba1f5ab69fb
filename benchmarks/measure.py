"""Timing, thread limits and reports shared by every benchmark here."""

import contextlib
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import statistics
import subprocess
import sys
import time

import threadpoolctl

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results"

# OpenBLAS and OpenMP workers spin for some tens of milliseconds after a call and slow down whoever runs next.
SPIN_DOWN_SECONDS = 0.1


def cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def quiet():
    """Wait until nothing of an earlier call is still computing."""
    time.sleep(SPIN_DOWN_SECONDS)


@contextlib.contextmanager
def blas_threads(n_threads):
    """BLAS on ``n_threads``; None leaves it alone, which is what our own code meets in a user's process."""
    if n_threads is None:
        yield
        return
    with threadpoolctl.threadpool_limits(n_threads, user_api="blas"):
        yield


def seconds(function, n_threads=None, at_least=0.0):
    """Wall time of one call of ``function``, repeated until ``at_least`` seconds have passed and averaged.

    With ``at_least`` there is one call before the clock starts: after the pause of `quiet` the caches are cold, which
    would weigh on a call of microseconds.
    """
    with blas_threads(n_threads):
        quiet()
        if at_least:
            function()
        n_calls, start = 0, time.perf_counter()
        while True:
            function()
            n_calls += 1
            elapsed = time.perf_counter() - start
            if elapsed >= at_least:
                return elapsed / n_calls


def interleave(functions, n_rounds, at_least=0.0):
    """{name: [seconds, ...]} of {name: (function, n_threads)}, one call of each per round: a drift hits all alike."""
    times = {name: [] for name in functions}
    for _ in range(n_rounds):
        for name, (function, n_threads) in functions.items():
            times[name].append(seconds(function, n_threads, at_least))
    return times


def fastest_threads(function, n_rounds=3, at_least=0.0):
    """The number of BLAS threads, 1 or all, with which ``function`` is faster: often one, for skinny products."""
    if cores() == 1:
        return 1
    times = interleave({n: (function, n) for n in (1, cores())}, n_rounds, at_least)
    return min(times, key=lambda n: statistics.median(times[n]))


def duration(seconds):
    """Seconds as people read them."""
    factor, unit = (1, "s") if seconds >= 1 else (1e3, "ms") if seconds >= 1e-3 else (1e6, "us")
    return f"{seconds * factor:.3g} {unit}"


def spread(times):
    """Median and the quartiles around it, as text."""
    if len(times) < 3:
        return f"{statistics.median(times):.3g}"
    low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


# ---------------------------------------------------------------------------------------------------------- reports


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit():
    """The commit that ran, '-dirty' with uncommitted changes to the package; None outside a clone."""
    git = ["git", "-C", str(HERE)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
        changes = subprocess.run([*git, "status", "--porcelain", "../softmax_clf"], capture_output=True, text=True)
    except OSError:
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")


def environment():
    """What a figure is worthless without: the machine, the versions and the command."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    packages = ["numpy", "scipy", "scikit-learn", "numba", "llvmlite", "scikit-learn-intelex", "torch"]
    versions = {name: _version(name) for name in packages}
    return {
        # of where the reader's data lie, a machine's folders say nothing
        "command": shlex.join(["python", os.path.relpath(sys.argv[0], HERE.parent), *map(_name_of_path, sys.argv[1:])]),
        "date": datetime.date.today().isoformat(),
        "cpu": model,
        "cores": cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "commit": _commit(),
        "versions": {name: version for name, version in versions.items() if version},
    }


def describe(env):
    """The environment in two lines of markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in env["versions"].items())
    return (
        f"`{env['command']}`  \n{env['date']}, commit {env['commit']}; {env['cpu']}, {env['cores']} cores; "
        f"{env['system']}, Python {env['python']}, {versions}\n"
    )


def _name_of_path(argument):
    return os.path.basename(argument) if os.path.isabs(argument) else argument


def markdown_table(header, rows):
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in [header, ["---"] * len(header), *rows]]
    return "\n".join(lines) + "\n"


def save(out, name, title, text, data, figure=None, echo=True):
    """Write a report and print it: ``name``.md, ``name``.json with the raw times and, given a figure, ``name``.png."""
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    env = environment()
    report = f"# {title}\n\n{describe(env)}\n{text}"
    if figure is not None:
        figure.savefig(out / f"{name}.png", dpi=110, bbox_inches="tight")
        report += f"\n![{title}]({name}.png)\n"
    (out / f"{name}.md").write_text(report)
    (out / f"{name}.json").write_text(json.dumps({**env, "results": data}, indent=1) + "\n")
    if echo:
        print(f"\n{report}\nwritten to {out / name}.*", flush=True)


def note(text):
    """Progress goes to stderr, so that stdout holds the report alone."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


# Okabe and Ito's colours: told apart by colour-blind readers; the markers tell them apart in print.
STYLES = [
    {"color": color, "marker": marker, "markersize": 4, "linewidth": 1.4}
    for color, marker in zip(
        ["#000000", "#E69F00", "#56B4E9", "#009E73", "#999999", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"],
        "os^DXpv<>",
        strict=True,
    )
]


def log_axis(axis, unit=""):
    """A logarithmic axis with labels that people read: 10 ms, 3 s, 100 k; also between powers of ten if it is short."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1,) if high > 100 * low else (1, 2, 5)))
    axis.set_major_formatter(EngFormatter(unit))
    axis.set_minor_formatter(NullFormatter())
