"""The constants that were chosen by measurement: a list of all that stand in the code, and some of them measured again.

    python benchmarks/calibrate.py             # every constant, as docs/constants.md has it; what the page lacks
    python benchmarks/calibrate.py --costs     # plan_metric's costs beside the clock: quiet machine, three minutes
    python benchmarks/calibrate.py --slacks    # the true gap over half the squared gradient: some minutes

    python benchmarks/calibrate.py --write     # put the values of now into the page; what they are is for you to say

All but the last print. Slacks are measured on the families of `hard_problems.py` that are for development, those of
some thousand rows that need no files; F* is that of a fit of ours to ``tol=1e-11``.
"""

import argparse
import ast
import pathlib
import re
from functools import partial

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE, PAGE = ROOT / "softmax_clf", ROOT / "docs" / "constants.md"
# What stands beside the fits, numbers of polynomials, and names of kinds that are numbers.
LEFT_OUT = {"features", "inspection", "datasets", "interop.py", "__main__.py", "elementary.py"}
KINDS = {"RAW", "PROBA", "LOG_PROBA"}
# Of these functions whole numbers count, too; elsewhere they are sizes and places.
MODELS = {"plan_metric", "patience", "suboptimality", "allowed_suboptimality", "n_pairs", "made", "_plan", "_low_rank"}
SHAPES = [  # (n_samples, n_features, n_classes)
    (150, 4, 3),
    (1_500, 64, 10),
    (5_000, 300, 5),
    (5_000, 300, 20),
    (20_000, 128, 10),
    (20_000, 512, 10),
    (20_000, 512, 2),
    (8_000, 1_600, 10),
]


# -------------------------------------------------------------------------------------------------- what the code has


def constants():
    """Every constant in the code, as (file, name, value as it is written).

    Numbers that a module or a class has under a name, and those within functions that are fractions, or powers of ten.
    """
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if not LEFT_OUT & {*place.parts}:
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
            found += [(place.as_posix(), *pair) for pair in (*_named(tree, source), *_within_functions(tree, source))]
    return found


def _named(tree, source, prefix=""):
    """Names and values of a module, and of its classes but for fields, which have defaults."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not any("dataclass" in ast.unparse(a) for a in node.decorator_list):
            yield from _named(node, source, node.name + ".")
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            pairs = [(node.target, node.value)]
        else:
            continue
        for target, value in pairs:
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                each = zip(target.elts, value.elts, strict=True)
            else:
                each = [(target, value)]
            for name, number in each:
                if isinstance(name, ast.Name) and _is_number(number) and name.id not in KINDS:
                    yield prefix + name.id, ast.get_source_segment(source, number)


def _is_number(node):
    """Whether an expression is arithmetic on numbers, other than zero."""
    kept = ast.Tuple, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop
    nodes = list(ast.walk(node))
    if not all(isinstance(a, kept) for a in nodes):
        return False
    values = [a.value for a in nodes if isinstance(a, ast.Constant)]
    return all(type(value) in (int, float) for value in values) and any(values)


def _within_functions(tree, source, prefix=""):
    """Names of functions, and the numbers that stand in them, but for defaults of their arguments."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _within_functions(node, source, prefix + node.name + ".")
        elif isinstance(node, ast.FunctionDef):
            numbers = []
            for statement in node.body:
                for number in ast.walk(statement):
                    value = number.value if isinstance(number, ast.Constant) else None
                    counts = type(value) is float or (type(value) is int and value > 2 and node.name in MODELS)
                    if counts and value not in (0.0, 0.5, 1.0, 2.0):
                        text = ast.get_source_segment(source, number)
                        numbers.append((number.lineno, number.col_offset, text))
            if numbers:
                yield f"{prefix}{node.name}()", ", ".join(dict.fromkeys(text for *_, text in sorted(numbers)))


def on_page():
    """The same, of the tables of the page: (file, name, value) by its headings and rows."""
    found, place = [], None
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## `([\w/]+\.py)`", line):
            place = heading[1]
        elif place and (row := re.match(r"\| `([^`]+)` \| `([^`]+)` \|", line)):
            found.append((place, row[1], row[2]))
    return found


def write():
    """Put the values that the code has into the tables of the page."""
    values = {(place, name): value for place, name, value in constants()}
    lines, place = PAGE.read_text(encoding="utf-8").splitlines(), None
    for i, line in enumerate(lines):
        if heading := re.match(r"## `([\w/]+\.py)`", line):
            place = heading[1]
        elif row := re.match(r"\| `([^`]+)` \| `[^`]+` \|", line):
            value = values.get((place, row[1]))
            if value is not None:
                lines[i] = f"| `{row[1]}` | `{value}` |{line[row.end() :]}"
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


# ------------------------------------------------------------------------------------------------- the cost of metrics


def costs():
    """Rows of a table: a shape and what is made, predicted and measured passes, and their ratio; on one thread."""
    import measure
    import numpy as np

    from softmax_clf.kernels.threads import Pieces
    from softmax_clf.metrics.curvature import Curvature
    from softmax_clf.objective import SoftmaxObjective
    from softmax_clf.solvers.lbfgs import Memory, lbfgs, run
    from softmax_clf.sources.arrays import ArraySource

    rows = []
    for n, p, K in SHAPES:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, p)).astype(np.float32) / np.sqrt(np.arange(1, p + 1, dtype=np.float32))
        y = (X @ rng.standard_normal((p, K)) + rng.gumbel(size=(n, K))).argmax(axis=1)
        options = {"sample_weight": None, "l2_reg_strength": 1 / n, "fit_intercept": True, "n_threads": 1}
        objective = SoftmaxObjective(ArraySource(X), y, K, **options)
        point = np.zeros((objective.n_outputs, objective.n_columns))
        curvature = Curvature.from_objective(objective)
        a_pass = measure.seconds(lambda o=objective, at=point: o.evaluate(at), 1, 0.1)

        def add(what, predicted, function, a_pass=a_pass, shape=f"{n:,} x {p:,} x {K}"):
            measured = measure.seconds(function, 1, 0.1) / a_pass
            rows.append([shape, what, f"{predicted:.3g}", f"{measured:.3g}", f"{measured / predicted:.2f}"])

        predicted = 3e6 + 2.4 * n * (p + 1) * objective.n_outputs  # as plan_metric has it
        rows.append([f"{n:,} x {p:,} x {K}", "a pass, ms", f"{predicted / 4e7:.3g}", f"{a_pass * 1e3:.3g}", ""])
        rows[-1][-1] = f"{a_pass * 1e3 / (predicted / 4e7):.2f}"
        curvature.metric(point)  # its rows are drawn once
        kind = f"{curvature.plan.kind}, {curvature.plan.n_rows:,} rows"
        add(kind, curvature.plan.passes, lambda c=curvature, at=point: c.metric(at))
        if not curvature.is_exact:
            curvature.metric_of_all_rows(point)
            kind = f"{curvature.plan.kind}, all rows"
            add(kind, curvature.passes_of_all_rows(), lambda c=curvature, at=point: c.metric_of_all_rows(at))
        exact = curvature.plan.exact_passes
        if np.isfinite(exact) and exact * a_pass < 2:
            add("whole Hessian", exact, lambda c=curvature, at=point: c.small.metric(at))

        def iterations(o=objective, c=curvature, at=point):
            memory = Memory(20, Pieces(at.size, 1))
            options = {"target": lambda point: -1.0, "max_iter": 20, "noise": 1e-15, "report": lambda solution: False}
            run(lbfgs(at, lambda point: c.diagonal(), memory=memory, **options), o.evaluate)

        before = objective.n_passes
        iterations()
        n_passes = objective.n_passes - before
        add("20 iterations", n_passes + 20 * (curvature.plan.iteration_passes - 1), iterations)
    return ["rows x features x classes", "what", "predicted", "measured", "measured / predicted"], rows


def stored():
    """Rows of a table: dense values that a stored value of CSR takes as long as, in a pass on one thread."""
    import measure
    import numpy as np
    import scipy.sparse as sp

    from softmax_clf.objective import SoftmaxObjective
    from softmax_clf.sources.arrays import ArraySource
    from softmax_clf.sources.sparse import CsrSource

    rows = []
    for n, p, K, density in ((10_000, 1_000, 10, 0.02), (10_000, 1_000, 20, 0.1), (10_000, 20_000, 10, 0.002)):
        rng = np.random.default_rng(0)
        X, y = sp.random_array((n, p), density=density, rng=rng, dtype=np.float32).tocsr(), rng.integers(K, size=n)
        dense = ArraySource(rng.standard_normal((n, 1_000)).astype(np.float32))
        options = {"sample_weight": None, "l2_reg_strength": 1 / n, "fit_intercept": True, "n_threads": 1}
        times = []
        for source in (CsrSource(X), dense):
            objective = SoftmaxObjective(source, y, K, **options)
            point = np.zeros((K, objective.n_columns))
            times.append(measure.seconds(lambda o=objective, at=point: o.evaluate(at), 1, 0.2))
        rows.append(
            [f"{n:,} x {p:,} x {K}", f"{density:.1%}", f"{times[0] / X.nnz / (times[1] / dense.pass_values):.1f}"]
        )
    return ["rows x features x classes", "stored", "dense values that one takes as long as"], rows


def deviations():
    """Rows of a table: passes and Gram matrices of an array by what differs in it, beside those of all its values."""
    import measure
    import numpy as np
    import scipy.sparse as sp

    from softmax_clf.kernels.gram import add_weighted_grams, add_weighted_sparse_grams
    from softmax_clf.objective import SoftmaxObjective
    from softmax_clf.sources.arrays import ArraySource
    from softmax_clf.sources.deviations import DeviationsSource
    from softmax_clf.sources.sparse import CsrSource

    rows = []
    for n, p in ((6_000, 300), (20_000, 1_000)):
        for itemsize, K, density in (
            (8, 1, 0.02),
            (8, 1, 0.1),
            (8, 10, 0.02),
            (8, 10, 0.1),
            (4, 10, 0.05),
            (4, 40, 0.05),
        ):
            rng, dtype = np.random.default_rng(0), np.float64 if itemsize == 8 else np.float32
            X = (rng.standard_normal((n, p)) * (rng.random((n, p)) < density)).astype(dtype)
            sparse = CsrSource(sp.csr_array(X))
            y, weight = rng.integers(max(K, 2), size=n), rng.random((n, 1))
            options = {"sample_weight": None, "l2_reg_strength": 1 / n, "fit_intercept": True, "n_threads": 1}
            passes = []
            for source in (ArraySource(X), DeviationsSource(X, np.full(p, 0.5, dtype), sparse)):
                objective = SoftmaxObjective(source, y, max(K, 2), **options)
                point = np.zeros((K, objective.n_columns))
                passes.append(measure.seconds(lambda o=objective, at=point: o.evaluate(at), 1, 0.2))
            out = [np.zeros((p, p))], np.zeros((1, p)), 1
            of_array = partial(add_weighted_grams, X, weight, np.zeros(p, dtype), *out)
            grams = [
                measure.seconds(f, 1, 0.2) for f in (of_array, partial(add_weighted_sparse_grams, sparse, weight, *out))
            ]
            products = n * p**2 / 2 * itemsize / 4 / (grams[0] / grams[1] * sparse.gram_products)
            ratios = [f"{one[1] / one[0]:.2f}" for one in (passes, grams)]
            rows.append([f"{n:,} x {p:,} x {K}", dtype.__name__, f"{density:.0%}", *ratios, f"{products:.0f}"])
    columns = ["rows x features x outputs", "dtype", "differ", "pass, times", "Gram matrix, times"]
    return [*columns, "multiply-adds of float32 that a product takes as long as"], rows


# --------------------------------------------------------------------------------------------------------- the slacks


def slacks(max_values=1.5e6, max_size=4_000):
    """Rows of a table: by kind of metric and where it was made, F - F* over half the squared gradient."""
    import measure
    import numpy as np
    from hard_problems import FAMILIES

    from softmax_clf.metrics import kinds
    from softmax_clf.metrics.plan import BLOCKS, EXACT, KRONECKER

    ratios = {}
    for family in FAMILIES.values():
        if family.held_out or family.needs:
            continue
        problem = family.load(None)
        n, p, K = problem.shape
        if problem.sparse or n * p > max_values or p * K > max_size:
            continue
        for C in filter(np.isfinite, family.Cs):
            measure.note(f"{family.name}, C={C:g}")
            for key, values in _ratios(problem, C).items():
                ratios.setdefault(key, []).extend(values)
    slack = {EXACT: kinds.ExactMetric.slack, BLOCKS: kinds.BlocksMetric.slack, KRONECKER: kinds.KroneckerMetric.slack}
    rows = []
    for kind, where in sorted(ratios):
        values = np.array(ratios[kind, where])
        shares = [f"{np.quantile(values, q):.2g}" for q in (0.5, 0.9, 0.99, 1.0)]
        rows.append([kind, where, len(values), *shares, slack[kind], f"{np.mean(values > slack[kind]):.1%}"])
    header = ["kind", "made", "points", "median", "90 %", "99 %", "largest", "slack", "above it"]
    return header, rows


def _ratios(problem, C):
    """{(kind, where): ratios} at points that L-BFGS comes by, with metrics made there, and with the first one."""
    import numpy as np

    from softmax_clf import SoftmaxRegressionClassifier
    from softmax_clf.kernels.threads import Pieces
    from softmax_clf.metrics.curvature import Curvature
    from softmax_clf.metrics.plan import BLOCKS, EXACT, KRONECKER, MOST_EXACT, MetricPlan
    from softmax_clf.objective import SoftmaxObjective
    from softmax_clf.solvers.lbfgs import Memory, lbfgs, run
    from softmax_clf.sources.arrays import ArraySource

    X, y, weight = np.ascontiguousarray(problem.X, np.float64), problem.codes, problem.sample_weight
    n, p, K = problem.shape
    clf = SoftmaxRegressionClassifier(C, tol=1e-11, max_iter=3000)
    best = clf.fit(X, y, sample_weight=weight).objective_
    strength = 1 / (C * (n if weight is None else weight.sum()))
    options = {"sample_weight": weight, "l2_reg_strength": strength, "fit_intercept": True, "n_threads": 2}
    objective = SoftmaxObjective(ArraySource(X), y, K, **options)
    start, trail = np.zeros((objective.n_outputs, objective.n_columns)), []

    def curvature_of(kind):
        curvature = Curvature.from_objective(objective)
        curvature.plan = MetricPlan(kind, n, 5.0)
        curvature._plan = lambda **options: curvature.plan
        return curvature

    def report(solution):
        trail.append((solution.point.copy(), solution.objective, solution.grad.copy()))
        return False

    memory = Memory(20, Pieces(start.size, 1))
    options = {"target": lambda point: 0.0, "max_iter": 150, "noise": 1e-15, "report": report, "memory": memory}
    run(lbfgs(start, curvature_of(KRONECKER).metric, **options), objective.evaluate)
    gaps = np.array([value - best for _, value, _ in trail]) / objective.null_objective
    chosen = {int(np.abs(np.log(np.maximum(gaps, 1e-300) / goal)).argmin()) for goal in 10.0 ** np.arange(-7, -1)}
    found = {}
    for kind in (KRONECKER, BLOCKS, EXACT):
        if (kind == EXACT and start.size > MOST_EXACT) or (kind == BLOCKS and objective.n_outputs == 1):
            continue
        curvature = curvature_of(kind)
        first = curvature.metric(start).matrix
        for q in chosen:
            point, value, grad = trail[q]
            if not 1e-8 < gaps[q] < 0.1:
                continue
            stale = trail[0][1] / value
            for where, metric, factor in (("there", curvature.metric(point).matrix, 1.0), ("at zero", first, stale)):
                half = factor * float(np.vdot(grad, metric.solve(grad))) / 2
                found.setdefault((kind, where), []).append((value - best) / half)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--costs", action="store_true", help="measure what plan_metric predicts")
    parser.add_argument("--slacks", action="store_true", help="measure what estimates of F - F* are too small by")
    parser.add_argument("--write", action="store_true", help="put the values of now into docs/constants.md")
    arguments = parser.parse_args()
    import measure

    if arguments.costs or arguments.slacks:
        print(measure.describe(measure.environment()))
    if arguments.costs:
        print(measure.markdown_table(*costs()))
        print(measure.markdown_table(*stored()))
        print(measure.markdown_table(*deviations()))
    if arguments.slacks:
        print(measure.markdown_table(*slacks()))
    if arguments.write:
        write()
    elif not (arguments.costs or arguments.slacks):
        known = on_page()
        for constant in constants():
            print(*constant, "" if constant in known else "    not on the page", sep="  ")
        for constant in known:
            if constant not in constants():
                print(*constant, "    on the page only", sep="  ")
