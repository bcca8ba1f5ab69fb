"""The solvers that are compared, one small class each.

A peer's `run` returns `Snapshot`s: coefficients with the wall time after which a user could have had them. Where one
fit passes through all of them (L-BFGS) they are recorded on its way; where it does not (a tolerance, a number of
epochs) each is a fit of its own, started afresh. Whoever judges the coefficients does so outside the timing.
"""

import contextlib
import dataclasses
import importlib.util
import time
import unittest.mock
import warnings

import measure
import numpy as np

MAX_ITER = 1000


@dataclasses.dataclass
class Snapshot:
    seconds: float
    passes: int  # evaluations of loss and gradient, Hessian products of ours; Newton's and SAG's iterations, epochs
    setting: float  # what gets a fit there: tol, max_iter or epochs
    coef: np.ndarray
    intercept: np.ndarray
    objective: float | None = None  # F there, once someone has asked


class Peer:
    """A ladder of complete fits, each more exact than the one before."""

    name = None
    descends = False  # whether F falls along the snapshots of a run, so that a mark can be bisected for
    ladder = ()
    probe = None  # the setting of a short fit, for choosing the number of threads
    n_threads = None

    def suits(self, problem):
        return True

    def fit(self, problem, C, setting):
        """A plain fit through the peer's public interface: passes, coef, intercept."""
        raise NotImplementedError

    def limit(self, n_threads):
        return measure.blas_threads(n_threads)

    def prepare(self, problem, C):
        """Whatever a knowing user would set first; here the number of threads, 1 or all, whichever is faster."""
        self.n_threads = 1
        if measure.cores() == 1:
            return
        times = {n: [] for n in (1, measure.cores())}
        for _ in range(3):
            for n in times:
                with self.limit(n):
                    times[n].append(measure.seconds(lambda: self.fit(problem, C, self.probe)))
        self.n_threads = min(times, key=lambda n: sorted(times[n])[1])

    def run(self, problem, C, budget, settings=None, enough=None):
        """One fit per setting, the ladder by default, until one would exceed ``budget`` seconds or adds nothing, or
        until a snapshot is ``enough``."""
        snapshots = []
        with self.limit(self.n_threads):
            for setting in settings or self.ladder:
                measure.quiet()
                if problem.small:  # a fit of milliseconds would pay for cold caches after the pause
                    self.fit(problem, C, setting)
                start = time.perf_counter()
                passes, coef, intercept = self.fit(problem, C, setting)
                elapsed = time.perf_counter() - start
                snapshots.append(Snapshot(elapsed, passes, setting, coef, intercept))
                if 2 * elapsed > budget or self.exhausted(snapshots):  # a rung takes up to twice the one before
                    break
                if enough is not None and enough(snapshots[-1]):
                    break
        return snapshots

    def exhausted(self, snapshots):
        return False

    def describe(self):
        return f"{self.name}, {self.n_threads} thread{'s' * (self.n_threads != 1)}"


def counted_fit(problem, **parameters):
    """A fit of ours, the passes over the rows that it took, and the products with the Hessian."""
    from softmax_clf import SoftmaxRegressionClassifier
    from softmax_clf.objective import SoftmaxObjective

    objectives, begin = [], SoftmaxObjective.__init__

    def kept(self, *args, **kwargs):
        objectives.append(self)
        begin(self, *args, **kwargs)

    model = SoftmaxRegressionClassifier(**parameters)
    with warnings.catch_warnings(), unittest.mock.patch.object(SoftmaxObjective, "__init__", kept):
        warnings.simplefilter("ignore")
        model.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
    n_passes = sum(objective.n_passes for objective in objectives)
    return model, n_passes, sum(getattr(objective, "n_products", 0) for objective in objectives)


class Ours(Peer):
    """softmax_clf; each tolerance is a fit of its own, its time that of the whole `fit`."""

    name = "ours"
    ladder = tuple(10.0**-k for k in range(1, 9))
    probe = 1e-6

    def prepare(self, problem, C):
        self.n_threads = None  # it sees to its threads itself
        self.fit(problem, C, self.probe)  # kernels compiled or loaded from their cache: startup.py times that

    def fit(self, problem, C, setting):
        model, n_passes, n_products = counted_fit(problem, C=C, tol=setting, max_iter=MAX_ITER)
        return n_passes + n_products, model.coef_, model.intercept_

    def describe(self):
        return self.name


class SklearnSolver(Peer):
    """scikit-learn's solvers other than L-BFGS, where they are known to do well: one fit per number of iterations."""

    ladder = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 20, 25, 32, 40, 50, 64, 80, 100)
    probe = 3

    def __init__(self, solver, small, sparse):
        self.solver, self.small, self.sparse = solver, small, sparse
        self.name = f"sklearn-{solver}"

    def suits(self, problem):
        return (self.small and problem.small) or (self.sparse and problem.sparse)

    def fit(self, problem, C, setting):
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=C, solver=self.solver, tol=1e-14, max_iter=setting)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
        return int(np.max(model.n_iter_)), model.coef_, model.intercept_

    def exhausted(self, snapshots):
        return snapshots[-1].passes < snapshots[-1].setting


class SklearnLbfgs(Peer):
    """scikit-learn's L-BFGS. One fit is watched at scipy's minimiser, which it runs on; iterate k is what
    ``fit(max_iter=k)`` returns, to the bit."""

    name = "sklearn-lbfgs"
    descends = True
    probe = 8

    def model(self, C, max_iter):
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=C, tol=0, max_iter=max_iter)

    def unpack(self, point, n_outputs, n_features):
        table = point.reshape(n_outputs, n_features + 1, order="F")
        return table[:, :-1], table[:, -1]

    def fit(self, problem, C, setting):
        model = self.model(C, setting)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
        return int(np.max(model.n_iter_)), model.coef_, model.intercept_

    def run(self, problem, C, budget, settings=None, enough=None):
        import scipy.optimize

        snapshots, minimize = [], scipy.optimize.minimize

        def recording_minimize(function, x0, *args, callback=None, **kwargs):
            passes = 0

            def counted(*point_and_args):
                nonlocal passes
                passes += 1
                return function(*point_and_args)

            def record(point):
                elapsed = time.perf_counter() - start
                coef, intercept = self.unpack(point.copy(), n_outputs, n_features)
                snapshots.append(Snapshot(elapsed, passes, len(snapshots) + 1, coef, intercept))
                if elapsed > budget:
                    raise StopIteration

            return minimize(counted, x0, *args, callback=record, **kwargs)

        _, n_features, n_classes = problem.shape
        n_outputs = 1 if n_classes == 2 else n_classes
        with self.limit(self.n_threads), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            measure.quiet()
            if problem.small:
                self.fit(problem, C, self.probe)
            model = self.model(C, max(settings or [MAX_ITER]))
            with unittest.mock.patch.object(scipy.optimize, "minimize", recording_minimize):
                start = time.perf_counter()
                model.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
        # The layout of scipy's vector is the peer's own affair: make sure that it was read as it was meant.
        scale = max(np.abs(model.coef_).max(), 1e-30)
        assert np.abs(snapshots[-1].coef - model.coef_).max() <= 1e-5 * scale
        return snapshots


class SklearnLiblinear(Peer):
    """LIBLINEAR's trust region Newton method through scikit-learn, for two classes: one fit per tolerance.

    It penalises the intercept, as the coefficient of a column of ``intercept_scaling``: that is so large here that the
    penalty is lost beside the loss.
    """

    name = "sklearn-liblinear"
    ladder = tuple(10.0**-k for k in range(1, 11))

    def suits(self, problem):
        return len(problem.classes) == 2 and problem.small

    def prepare(self, problem, C):
        self.n_threads = 1  # it has no more

    def fit(self, problem, C, setting):
        from sklearn.linear_model import LogisticRegression

        scaling = max(1.0, 1e4 / (C * problem.X.shape[0]) ** 0.5)
        model = LogisticRegression(
            C=C, solver="liblinear", tol=setting, max_iter=MAX_ITER, intercept_scaling=scaling, random_state=0
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
        return int(np.max(model.n_iter_)), model.coef_, model.intercept_


class SklearnexLbfgs(SklearnLbfgs):
    """scikit-learn-intelex: the same minimiser with 50 instead of 10 pairs on oneDAL's loss and gradient."""

    name = "sklearnex-lbfgs"

    def suits(self, problem):
        return not problem.sparse  # it would hand such data to scikit-learn

    def model(self, C, max_iter):
        from sklearnex.linear_model import LogisticRegression

        return LogisticRegression(C=C, tol=0, max_iter=max_iter, n_jobs=self.n_jobs)

    @contextlib.contextmanager
    def limit(self, n_threads):
        self.n_jobs = n_threads  # oneDAL's threads are not BLAS's
        yield

    def unpack(self, point, n_outputs, n_features):
        table = point.reshape(n_outputs, n_features + 1)
        return table[:, 1:], table[:, 0]


class TorchPeer(Peer):
    """A linear layer in PyTorch on the CPU, penalty in the loss so that the minimiser is everyone's."""

    def suits(self, problem):
        return not problem.sparse and problem.X.dtype.kind == "f"

    @contextlib.contextmanager
    def limit(self, n_threads):
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(n_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def layer(self, problem):
        import torch

        _, n_features, n_classes = problem.shape
        X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.codes)
        n_outputs = 1 if n_classes == 2 else n_classes
        coef = torch.zeros((n_outputs, n_features), dtype=X.dtype, requires_grad=True)
        intercept = torch.zeros(n_outputs, dtype=X.dtype, requires_grad=True)
        return X, (y.to(X.dtype) if n_outputs == 1 else y), coef, intercept

    def loss(self, X, y, coef, intercept, l2_reg_strength):
        from torch.nn import functional

        scores = functional.linear(X, coef, intercept)
        if len(coef) == 1:
            mean = functional.binary_cross_entropy_with_logits(scores[:, 0], y)
        else:
            mean = functional.cross_entropy(scores, y)
        return mean + 0.5 * l2_reg_strength * coef.square().sum()


class _Enough(Exception):
    pass


class TorchLbfgs(TorchPeer):
    """torch.optim.LBFGS on all rows with its strong Wolfe search, watched at its closure."""

    name = "torch-lbfgs"
    descends = True
    probe = 8

    def fit(self, problem, C, setting):
        last = self.trace(problem, C, max_passes=setting, budget=np.inf)[-1]
        return last.passes, last.coef, last.intercept

    def run(self, problem, C, budget, settings=None, enough=None):
        with self.limit(self.n_threads):
            measure.quiet()
            if problem.small:
                self.fit(problem, C, self.probe)
            return self.trace(problem, C, max(settings or [2 * MAX_ITER]), budget)

    def trace(self, problem, C, max_passes, budget):
        import torch

        start = time.perf_counter()
        snapshots, passes, lowest = [], 0, np.inf
        X, y, coef, intercept = self.layer(problem)
        optimizer = torch.optim.LBFGS(
            [coef, intercept],
            max_iter=MAX_ITER,
            max_eval=2 * MAX_ITER,
            history_size=10,
            tolerance_grad=0,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )

        def closure():
            nonlocal passes, lowest
            optimizer.zero_grad()
            loss = self.loss(X, y, coef, intercept, 1 / (C * len(X)))
            loss.backward()
            passes += 1
            elapsed = time.perf_counter() - start
            if (
                loss.item() < lowest or not snapshots
            ):  # a trial point of the line search that goes up is no place to stop
                lowest = loss.item()
                point = coef.detach().numpy().copy(), intercept.detach().numpy().copy()
                snapshots.append(Snapshot(elapsed, passes, passes, *point))
            if passes >= max_passes or elapsed > budget:
                raise _Enough
            return loss

        with contextlib.suppress(_Enough):
            optimizer.step(closure)
        return snapshots


class TorchAdamW(TorchPeer):
    """The usual linear probe: AdamW on mini-batches of 1024 rows, cosine schedule, the best of four learning rates.

    AdamW's own decay is off, since it minimises something else than the penalised loss; the penalty is in the loss.
    """

    name = "torch-adamw"
    ladder = (1, 2, 4, 8, 16, 32, 64, 128)
    probe = 1
    batch_rows = 1024
    learning_rates = (1e-4, 1e-3, 1e-2, 1e-1)
    learning_rate = 1e-3

    def suits(self, problem):
        return super().suits(problem) and not problem.small

    def prepare(self, problem, C):
        super().prepare(problem, C)
        reached = {}
        with self.limit(self.n_threads):
            for learning_rate in self.learning_rates:
                self.learning_rate = learning_rate
                _, coef, intercept = self.fit(problem, C, 2)
                reached[learning_rate] = np.nan_to_num(problem.objective(coef, intercept, C), nan=np.inf)
        self.learning_rate = min(reached, key=reached.get)

    def describe(self):
        return f"{super().describe()}, rate {self.learning_rate:g}"

    def fit(self, problem, C, setting):
        import torch

        generator = torch.Generator().manual_seed(0)
        X, y, coef, intercept = self.layer(problem)
        optimizer = torch.optim.AdamW([coef, intercept], lr=self.learning_rate, weight_decay=0)
        n_steps = setting * -(-len(X) // self.batch_rows)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
        for _ in range(setting):
            for rows in torch.randperm(len(X), generator=generator).split(self.batch_rows):
                optimizer.zero_grad()
                self.loss(X[rows], y[rows], coef, intercept, 1 / (C * len(X))).backward()
                optimizer.step()
                scheduler.step()
        return setting, coef.detach().numpy(), intercept.detach().numpy()


PEERS = {
    peer.name: peer
    for peer in (
        Ours(),
        SklearnLbfgs(),
        SklearnSolver("newton-cholesky", small=True, sparse=False),
        SklearnSolver("newton-cg", small=True, sparse=True),
        SklearnSolver("sag", small=False, sparse=True),
        SklearnLiblinear(),
        SklearnexLbfgs(),
        TorchLbfgs(),
        TorchAdamW(),
    )
}
PACKAGES = {"sklearnex-lbfgs": "sklearnex", "torch-lbfgs": "torch", "torch-adamw": "torch"}


def installed(names):
    """The peers of these names whose package is there; the others are said to be left out."""
    missing = [name for name in names if importlib.util.find_spec(PACKAGES.get(name, "sklearn")) is None]
    for name in missing:
        measure.note(f"{name} left out: {PACKAGES[name]} is not installed")
    return [PEERS[name] for name in names if name not in missing]
