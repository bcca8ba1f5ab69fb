"""Fits to Dask collections: on a cluster of two processes, and without one. And the sums that they are made of."""

import itertools
import os
import signal

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
import dask.array as da  # noqa: E402
from sklearn.model_selection import KFold, ShuffleSplit  # noqa: E402

from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV  # noqa: E402
from softmax_clf.metrics import quadratic  # noqa: E402
from softmax_clf.sources import dask as dask_source  # noqa: E402
from softmax_clf.sums import Shard, combine, fit_sums  # noqa: E402

N, P, K = 1500, 90, 12  # so many coefficients that no Hessian is made of them
EXACT = {"C": 0.01, "tol": 1e-12}


@pytest.fixture(scope="module")
def client():
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture
def alone():
    """No cluster: chunks one after another in this process, to the bits that a cluster gives, as is shown below."""
    with dask.config.set(scheduler="synchronous"):
        yield


def make_data(n=N, p=P, n_classes=K, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + 1.0
    y = (X @ rng.normal(size=(p, n_classes)) / 2 + 2 * rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    return X, y


X, Y = make_data()
WEIGHT = np.random.default_rng(1).random(N)
BY_CLASS = np.argsort(Y, kind="stable")


@pytest.fixture(scope="module")
def coef():
    """What fits in memory give, by what they are of."""
    known = {}

    def fit(key, *args, **params):
        if key not in known:
            known[key] = SoftmaxRegressionClassifier(**{**EXACT, **params}).fit(*args).coef_
        return known[key]

    return fit


@pytest.mark.filterwarnings("ignore:Running on a single-machine scheduler")
def test_same_bits_with_a_cluster_or_none(client, coef):
    """Columns in several chunks, y and weights cut elsewhere: y as a Dask array, weights in memory."""
    args = da.from_array(X, chunks=(400, 50)), da.from_array(Y, chunks=333), WEIGHT
    clf = SoftmaxRegressionClassifier(**EXACT).fit(*args)
    with dask.config.set(scheduler="synchronous"):
        alone = SoftmaxRegressionClassifier(**EXACT).fit(*args)
    assert type(clf.coef_) is np.ndarray
    assert type(clf.intercept_) is np.ndarray
    assert clf.converged_
    np.testing.assert_array_equal(clf.coef_, alone.coef_)
    np.testing.assert_allclose(clf.coef_, coef("weights", X, Y, WEIGHT), atol=1e-6)


def sparse_rows():
    sparse = np.where(X > 1.5, X, 0.0)
    sparse[600:900] = 0.0  # a chunk without stored values
    return sparse


CHUNKED = {
    "a fifth empty": (X, Y, (300, 0, 500, 400, 300)),
    "first and last empty": (X, Y, (0, 700, 800, 0)),
    "one class a chunk": (X[BY_CLASS], Y[BY_CLASS], tuple(np.bincount(Y).tolist())),
    "sparse": (sparse_rows(), Y, (300,) * 5),
    "float32": (X.astype(np.float32), Y, (700, 800)),
}


@pytest.mark.filterwarnings("ignore:Running on a single-machine scheduler")
@pytest.mark.parametrize("name", CHUNKED)
def test_as_in_memory(request, coef, name):
    request.getfixturevalue("client" if name == "sparse" else "alone")
    rows, y, chunks = CHUNKED[name]
    params = {"tol": 1e-9} if name == "float32" else {}
    wanted = coef(name, csr_matrix(rows) if name == "sparse" else rows, y, **params)
    lazy = da.from_array(rows, chunks=(chunks, P))
    if name == "sparse":
        lazy = lazy.map_blocks(csr_matrix)
    clf = SoftmaxRegressionClassifier(**{**EXACT, **params}).fit(lazy, da.from_array(y, chunks=(chunks,)))
    np.testing.assert_allclose(clf.coef_, wanted, atol=1e-4 if name == "float32" else 1e-6)
    assert clf.coef_.dtype == rows.dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
@pytest.mark.filterwarnings("ignore:Running on a single-machine scheduler")
def test_narrow_rows(alone, coef, dtype):
    rows = np.clip(20 * X + 100, 0, 255).astype(dtype)
    params = {"tol": 1e-7, "C": 1e-3}
    clf = SoftmaxRegressionClassifier(**params).fit(da.from_array(rows, chunks=(600, P)), da.from_array(Y, chunks=600))
    assert clf.coef_.dtype == np.float32
    np.testing.assert_allclose(clf.coef_, coef(dtype, rows, Y, **params), atol=2e-4)


def test_frames_and_unknown_sizes(client, coef):
    """Of frames, and of rows that have been picked, nobody knows how many there are in a chunk."""
    pd = pytest.importorskip("pandas")
    dd = pytest.importorskip("dask.dataframe")
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(P)])
    labels = np.array([f"class {k:02}" for k in range(K)])[Y]
    lazy = dd.from_pandas(frame.assign(label=labels), npartitions=3)
    clf = SoftmaxRegressionClassifier(**EXACT).fit(lazy.drop(columns="label"), lazy["label"])
    np.testing.assert_allclose(clf.coef_, coef("plain", X, Y), atol=1e-6)
    np.testing.assert_array_equal(clf.feature_names_in_, frame.columns)
    predicted = clf.predict(lazy.drop(columns="label"))
    assert predicted.dtype == clf.classes_.dtype
    np.testing.assert_array_equal(predicted.compute(), clf.predict(frame))

    picked = X[:, 0] > 0
    rows, y = da.from_array(X, chunks=(500, P)), da.from_array(Y, chunks=500)
    mask = da.from_array(picked, chunks=500)
    clf = SoftmaxRegressionClassifier(**EXACT).fit(rows[mask], y[mask])
    np.testing.assert_allclose(clf.coef_, coef("picked", X[picked], Y[picked]), atol=1e-6)


def test_small_problems_take_newton_steps(alone, coef):
    """Few coefficients: the rows come here, and the bound that ends the fit with them."""
    rows, y = X[:, :5], (Y > 5).astype(int)
    clf = SoftmaxRegressionClassifier(**EXACT).fit(da.from_array(rows, chunks=(400, 5)), da.from_array(y, chunks=400))
    assert clf.suboptimality_is_bound_
    np.testing.assert_allclose(clf.coef_, coef("two", rows, y), atol=1e-9)


@pytest.mark.parametrize(
    "params",
    [{"standardize": True}, {"class_weight": "balanced"}, {"class_weight": {3: 2.5}}, {"fit_intercept": False}],
)
@pytest.mark.filterwarnings("ignore:Running on a single-machine scheduler")
def test_parameters(alone, coef, params):
    rows = X * np.linspace(0.1, 10, P)
    rows[:, 7] = 3.0  # a constant
    clf = SoftmaxRegressionClassifier(**EXACT, **params).fit(da.from_array(rows, chunks=(400, P)), Y, WEIGHT)
    wanted = coef(repr(params), rows, Y, WEIGHT, **params)
    np.testing.assert_allclose(clf.coef_, wanted, atol=1e-6)
    assert (wanted[:, 7] == 0).all() == (clf.coef_[:, 7] == 0).all()


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("n_classes", [2, K])
def test_offsets(client, n_classes, small):
    """Cut elsewhere than X; where coefficients are few, rows come here with theirs."""
    rows, y = X[:, :5] if small else X, np.minimum(Y, n_classes - 1)
    offset = np.random.default_rng(2).normal(size=(N, n_classes)) + 2 * np.eye(n_classes)[y]
    wanted = SoftmaxRegressionClassifier(**EXACT).fit(rows, y, offset=offset)
    args = da.from_array(rows, chunks=(400, rows.shape[1])), da.from_array(y, chunks=500)
    clf = SoftmaxRegressionClassifier(**EXACT).fit(*args, offset=da.from_array(offset, chunks=(700, 1)))
    np.testing.assert_allclose(clf.coef_, wanted.coef_, atol=1e-6)
    without = SoftmaxRegressionClassifier(**EXACT).fit(rows, y)
    assert np.abs(without.coef_ - clf.coef_).max() > 1e-3


@pytest.mark.parametrize("in_memory", [False, True])
def test_early_stopping(client, in_memory):
    """By a validation set in chunks, one of them empty, or in memory."""
    y = Y % 4
    params = {"C": 1e3, "early_stopping": True, "n_iter_no_change": 2, "class_weight": "balanced"}
    parts = X[:1000], y[:1000]
    wanted = SoftmaxRegressionClassifier(**params).fit(*parts, X_val=X[1000:], y_val=y[1000:])
    val = X[1000:], y[1000:]
    if not in_memory:
        val = da.from_array(val[0], chunks=((200, 0, 300), P)), da.from_array(val[1], chunks=150)
    args = da.from_array(parts[0], chunks=(300, P)), da.from_array(parts[1], chunks=300)
    clf = SoftmaxRegressionClassifier(**params).fit(*args, X_val=val[0], y_val=val[1])
    assert not clf.converged_
    assert clf.validation_loss_curve_[0] == pytest.approx(wanted.validation_loss_curve_[0])
    assert min(clf.validation_loss_curve_) == pytest.approx(min(wanted.validation_loss_curve_), rel=0.02)
    at_the_end = clf.predict_proba(X[1000:])[np.arange(500), y[1000:]]
    weight = np.bincount(y[:1000])[y[1000:]] ** -1.0
    assert min(clf.validation_loss_curve_) == pytest.approx(-np.average(np.log(at_the_end), weights=weight))
    with pytest.raises(ValueError, match="classes"):
        SoftmaxRegressionClassifier(**params).fit(*args, X_val=val[0], y_val=np.full(500, 77))


def test_large_arguments_are_sent_once(client, monkeypatch):
    """And those that are small go with the tasks: the bits are the same."""
    args = da.from_array(X, chunks=(300, P)).persist(), da.from_array(Y, chunks=300)
    small = SoftmaxRegressionClassifier(tol=1e-3).fit(*args)
    monkeypatch.setattr(dask_source, "_SMALL_BYTES", 0)
    np.testing.assert_array_equal(SoftmaxRegressionClassifier(tol=1e-3).fit(*args).coef_, small.coef_)


def test_predictions_are_lazy(client):
    y = (Y > 5).astype(np.int32)
    clf = SoftmaxRegressionClassifier().fit(X, y)
    rows = da.from_array(X, chunks=((700, 0, 800), P))
    for method, shape in (
        ("predict", (N,)),
        ("predict_proba", (N, 2)),
        ("predict_log_proba", (N, 2)),
        ("decision_function", (N,)),
    ):
        lazy, wanted = getattr(clf, method)(rows), getattr(clf, method)(X)
        assert isinstance(lazy, da.Array)
        assert (lazy.shape, lazy.dtype) == (shape, wanted.dtype)
        np.testing.assert_allclose(lazy.compute(), wanted, rtol=1e-12)
    narrow = clf.predict_proba(rows.astype(np.float32))
    assert narrow.dtype == np.float32 == narrow.compute().dtype
    score = clf.score(rows, da.from_array(y, chunks=333), WEIGHT)
    assert type(score) is float
    assert score == pytest.approx(clf.score(X, y, WEIGHT), rel=1e-12)


CHOICES = {
    "log loss": {"cv": 3},
    "weights": {"cv": 2, "standardize": True, "class_weight": "balanced", "scoring": "accuracy"},
    "draws": {"cv": ShuffleSplit(3, test_size=0.4, random_state=0), "fit_intercept": False},
    "L1": {"cv": 2, "l1_ratios": [0.5, 1.0]},
    "C_max": {"cv": 2, "l1_ratios": [1.0], "Cs": 3},
    "two classes": {"cv": "holdout", "random_state": 0},
    "a rare class": {"cv": KFold(3)},
}


def centred(coef):
    """Coefficients (.., n_outputs, n_columns) without what all classes share.

    With an L1 penalty and an even number of classes it may lie anywhere between the two in the middle.
    """
    return coef - coef.mean(axis=-2, keepdims=True)


@pytest.mark.filterwarnings("ignore:Running on a single-machine scheduler", "ignore:The best C")
@pytest.mark.parametrize("name", CHOICES)
def test_the_choice_of_C(request, name):
    """Scores are those of folds in memory, and features do not leave the workers."""
    request.getfixturevalue("client" if name == "log loss" else "alone")
    rows, y = X[:600, :20], Y[:600] % (2 if name == "two classes" else 4)
    if name == "a rare class":  # which the first fold's training rows lack
        y[y == 3] = 0
        y[:5] = 3
    weight = WEIGHT[:600] if name == "weights" else None
    params = {"Cs": [0.01, 0.3], "tol": 1e-11, **CHOICES[name]}
    wanted = SoftmaxRegressionClassifierCV(**params, score_tol=0).fit(rows, y, weight)
    args = da.from_array(rows, chunks=((250, 0, 350), 20)), da.from_array(y, chunks=200)
    clf = SoftmaxRegressionClassifierCV(**params).fit(*args, weight)
    np.testing.assert_allclose(clf.Cs_, wanted.Cs_, rtol=1e-9)
    np.testing.assert_allclose(clf.scores_, wanted.scores_, rtol=0, atol=1e-6)
    settled = centred if "l1_ratios" in params else np.asarray
    np.testing.assert_allclose(settled(clf.coefs_paths_), settled(wanted.coefs_paths_), atol=1e-4)
    np.testing.assert_allclose(clf.dev_ratio_, wanted.dev_ratio_, atol=1e-8)
    assert (clf.C_, clf.l1_ratio_) == pytest.approx((wanted.C_, wanted.l1_ratio_))
    np.testing.assert_allclose(settled(clf.coef_), settled(wanted.coef_), atol=1e-5)
    assert clf.score(*args) == pytest.approx(wanted.score(rows, y))


@pytest.mark.parametrize(
    "params",
    [
        {"l1_ratio": 0.5},
        {"l1_ratio": 1.0, "l1_group": "class"},
        {"l1_ratio": 0.9, "standardize": True, "class_weight": "balanced"},
        {"coef_bounds": (0.0, np.inf)},
    ],
)
@pytest.mark.parametrize("is_small", [False, True])
@pytest.mark.filterwarnings("ignore:Running on a single-machine scheduler")
def test_coefficients_of_zero_and_bounds(alone, params, is_small):
    """Penalties and bounds without a derivative: the objective is that of a fit in memory, and what is zero."""
    rows, y = (X[:, :5], Y % 3) if is_small else (X, Y)
    options = {"C": 0.02, "tol": 1e-9, **params}
    wanted = SoftmaxRegressionClassifier(**options).fit(rows, y)
    clf = SoftmaxRegressionClassifier(**options).fit(
        da.from_array(rows, chunks=(400, -1)), da.from_array(y, chunks=500)
    )
    assert clf.converged_
    assert clf.objective_ == pytest.approx(wanted.objective_, rel=1e-6)
    np.testing.assert_allclose(clf.coef_, wanted.coef_, atol=1e-3)
    assert 0 < np.mean(clf.coef_ == 0) < 1
    np.testing.assert_array_equal(clf.coef_ == 0, wanted.coef_ == 0)


@pytest.mark.filterwarnings("ignore:Running on a single-machine scheduler")
def test_models_of_some_features(alone, monkeypatch):
    """Of many features an L1 penalty leaves few, and Gram matrices are of these."""
    monkeypatch.setattr(quadratic, "_MAX_FEATURES", 40)
    monkeypatch.setattr(quadratic, "_LEAST_FEATURES", 20)
    params = {"C": 0.02, "l1_ratio": 1.0, "tol": 1e-9}
    wanted = SoftmaxRegressionClassifier(**params).fit(X, Y)
    clf = SoftmaxRegressionClassifier(**params).fit(da.from_array(X, chunks=(400, P)), Y)
    assert clf.objective_ == pytest.approx(wanted.objective_, rel=1e-6)


def kill_a_worker(client):
    pid = next(iter(client.run(os.getpid).values()))
    os.kill(pid, signal.SIGKILL)


def test_a_worker_has_one_task_a_pass(client, monkeypatch):
    args = da.from_array(X, chunks=(250, P)).persist(), da.from_array(Y, chunks=250)
    distributed.wait(args[0])
    each, n_tasks = dask_source.Cluster.each, []

    def counted(self, function, *arguments, **common):
        if common.get("name") == "loss_gradient":
            n_tasks.append(len(arguments[0]))
        return each(self, function, *arguments, **common)

    monkeypatch.setattr(dask_source.Cluster, "each", counted)
    SoftmaxRegressionClassifier(tol=1e-6).fit(*args)
    assert n_tasks[0] == 6  # as many as chunks, while it is not known how large their answers are
    assert len(n_tasks) > 5
    assert max(n_tasks[1:]) <= 3


def test_tasks_are_of_shards_that_lie_together():
    class Client:
        def who_has(self, values):
            return {value.key: has[value.key] for value in values if has[value.key]}

        def nthreads(self):
            return {"a": 1, "b": 4}

    class Value:
        def __init__(self, key):
            self.key = key

    def lists():
        return dask_source.Cluster(Client()).neighbours([Value(key) for key in range(len(has))])

    has = [("a",), ("b",), ("b", "a"), ("a",), (), ("b",)]
    assert lists() == [[0, 2, 3], [1, 5], [4]]
    has = [("a",)] * 5  # b may take what is left
    assert lists() == [[0, 1, 2], [3, 4]]


def test_a_worker_dies(client, monkeypatch):
    """In the middle of a pass: Dask makes anew what it held, and the bits are the same."""
    args = da.from_array(X, chunks=(300, P)).persist(), da.from_array(Y, chunks=300)
    wanted = SoftmaxRegressionClassifier(**EXACT).fit(*args)
    each, calls = dask_source.Cluster.each, []

    def dying(self, function, *arguments, **common):
        answers = each(self, function, *arguments, **common)
        calls.append(common.get("name"))
        if calls.count("loss_gradient") == 5 and calls[-1] == "loss_gradient":
            kill_a_worker(client)
        return answers

    monkeypatch.setattr(dask_source.Cluster, "each", dying)
    clf = SoftmaxRegressionClassifier(**EXACT).fit(*args)
    assert calls.count("loss_gradient") > 5
    np.testing.assert_array_equal(clf.coef_, wanted.coef_)
    client.wait_for_workers(2)


def test_what_leaves_the_workers_is_small(client, monkeypatch):
    """No answer is as long as the rows are many."""
    gather, sizes = dask_source.Cluster.gather, []

    def measured(self, values):
        found = gather(self, values)
        sizes.extend(max(part.shape, default=0) for part in arrays_of(found))
        return found

    def arrays_of(value):
        return itertools.chain(*map(arrays_of, value)) if isinstance(value, list | tuple) else [np.asarray(value)]

    monkeypatch.setattr(dask_source.Cluster, "gather", measured)
    SoftmaxRegressionClassifier(tol=1e-3).fit(lazy(X), da.from_array(Y, chunks=400))
    assert max(sizes) == P
    sizes.clear()
    y = da.from_array(Y % 3, chunks=400)
    SoftmaxRegressionClassifierCV([0.1], cv=2, tol=1e-3).fit(lazy(X[:, :50]), y)
    assert max(size for size in sizes if size != 500) == 50  # but for the labels


# ---------------------------------------------------------------------------------------------------------------------
# Errors


def lazy(rows, chunks=500):
    return da.from_array(rows, chunks=(chunks, rows.shape[1]))


def with_nan():
    rows = X.copy()
    rows[1100, 3] = np.nan
    return rows


def test_errors_name_the_chunk(client):
    clf = SoftmaxRegressionClassifier()
    with pytest.raises(ValueError, match=r"In chunk 2, which begins with row 1000: .*NaN in row 100"):
        clf.fit(lazy(with_nan()), Y)
    blocks = [dask.delayed(X[:500]), dask.delayed(X[500:1000, :89])]
    odd = da.concatenate([da.from_delayed(block, shape=(500, P), dtype=X.dtype) for block in blocks])
    with pytest.raises(ValueError, match=r"features of chunk 0, got 89 in chunk 1"):
        clf.fit(odd, Y[:1000])
    with pytest.raises(ValueError, match=r"1500 rows of X, got 1400, chunk 2 having 400 for 500 rows"):
        clf.fit(lazy(X), da.from_array(Y[:1400], chunks=500))
    with pytest.raises(ValueError, match=r"In chunk 1.*NaN in row 0"):
        clf.fit(lazy(X), da.from_array(np.where(np.arange(N) == 500, np.nan, Y), chunks=500))
    with pytest.raises(ValueError, match=r"In chunk \d.*non-negative sample_weight"):
        clf.fit(lazy(X), Y, np.full(N, -1.0))
    assert not hasattr(clf, "coef_")


def test_errors_before_any_work():
    with pytest.raises(ValueError, match="Expected X_val and y_val with early_stopping=True"):
        SoftmaxRegressionClassifier(early_stopping=True).fit(lazy(X), Y)
    for params, remedy in (
        ({"cv": "loo"}, "integer cv or a splitter"),
        ({"scoring": "roc_auc_ovr"}, "Expected scoring"),
        ({"store_oof_proba": True}, "store_oof_proba"),
        ({"cv": ShuffleSplit(20, random_state=0)}, "groups"),
    ):
        with pytest.raises(ValueError, match=remedy):
            SoftmaxRegressionClassifierCV(**params).fit(lazy(X), Y)
    with pytest.raises(ValueError, match=r"In chunk \d.*offset of shape \(500, 12\)"):
        SoftmaxRegressionClassifier().fit(lazy(X), Y, offset=np.zeros((N, 3)))
    with pytest.raises(ValueError, match="at least 2 classes"):
        SoftmaxRegressionClassifier().fit(lazy(X), np.zeros(N))
    with pytest.raises(ValueError, match="at least 2 classes with a positive total weight"):
        SoftmaxRegressionClassifier().fit(lazy(X), Y, (Y == 2).astype(float))


def test_costly_rows_are_told_of(client, monkeypatch):
    monkeypatch.setattr(dask_source, "_COSTLY", 0.0)
    clf = SoftmaxRegressionClassifier(tol=1e-2)
    with pytest.warns(UserWarning, match="X is not persisted"):
        clf.fit(lazy(X) + 0, Y)
    rows = lazy(X).persist()
    clf.fit(rows, Y)


# ---------------------------------------------------------------------------------------------------------------------
# Sums


@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_pooled_by_sums(coef, container):
    """Without Dask: a fit to what shards add up, one of which has no rows."""
    bounds = [0, 400, 400, 1000, N]
    shards = [Shard(container(X[a:b]), Y[a:b], np.arange(K), WEIGHT[a:b]) for a, b in itertools.pairwise(bounds)]

    def total(name, *args):
        assert name != "rows"  # which are not anybody's to ask for
        return combine(name, [getattr(shard, name)(*args) for shard in shards])

    clf = fit_sums(SoftmaxRegressionClassifier(**EXACT), total, np.arange(K))
    np.testing.assert_allclose(clf.coef_, coef("weights", X, Y, WEIGHT), atol=1e-6)


def test_sums_of_a_sample_stand_for_all():
    """Gram matrices over a tenth of the rows are those over all, but for what sampling makes of them."""
    rows, y = make_data(20_000, 5, 3)
    shard = Shard(rows, y, np.arange(3))
    center, rarity = rows.mean(axis=0), np.ones(3)

    def gram(step):
        return shard.grams(np.ones(3), rarity, step, np.zeros((3, 6)), None, center, True, 1)

    (every, _, mass, *_), (some, _, mass_of_some, _, sizes) = gram(0.0), gram(10.0)
    assert 1900 <= sizes[0] <= 2000
    assert mass_of_some == pytest.approx(mass, rel=0.01)
    np.testing.assert_allclose(np.tril(some[0]), np.tril(every[0]), atol=0.1 * every[0].max())


def test_sums_have_the_same_bits_wherever_they_are_added_up():
    """First by the workers, and here once it is known that answers are few bytes."""

    class Rows:
        n_jobs = 1

        def __init__(self, seed):
            self.answer = tuple(np.random.default_rng(seed).normal(size=size) for size in (1, 50))

        def loss_gradient(self):
            return self.answer

    class There(dask_source.Here):
        def call(self, function, *arguments):
            n_calls.append(function)
            return super().call(function, *arguments)

    n_calls = []
    sums = dask_source.Sums(There(), [Rows(seed) for seed in range(20)], combine)
    first = sums("loss_gradient")
    assert len(n_calls) == 4  # three of eight answers at most, and one of theirs
    second = sums("loss_gradient")
    assert len(n_calls) == 4
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
