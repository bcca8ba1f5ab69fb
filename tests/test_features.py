"""Transformers of images, against formulas written out in NumPy and against numbers that can be checked by hand."""

import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from softmax_clf.features import HOG, Flatten, GlobalAveragePooling, PatchKMeans
from softmax_clf.features import patch_kmeans as patch_kmeans_module
from softmax_clf.features._images import batches
from softmax_clf.features._kmeans import lloyd
from softmax_clf.kernels.threads import blas_on_one_thread


def random_images(n=12, height=11, width=9, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def smooth_images(n=40, size=12, seed=0):
    """Images whose neighbouring pixels are alike, as in photographs; those of class 1 are brighter on the right."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 255, (n, size, size, 3)).cumsum(axis=1).cumsum(axis=2)
    images *= 255 / images.max(axis=(1, 2, 3), keepdims=True)
    y = np.arange(n) % 2
    images[y == 1] = images[y == 1][:, :, ::-1]
    return images.astype(np.uint8), y


def small_transformers():
    """One of each transformer that needs the shape of an image, small enough for the images above."""
    return [
        GlobalAveragePooling(),
        HOG(4, pixels_per_cell=(3, 3), cells_per_block=(2, 2)),
        PatchKMeans(5, patch_size=4, n_patches=300, random_state=0),
    ]


@pytest.fixture(params=range(3), ids=["GlobalAveragePooling", "HOG", "PatchKMeans"])
def transformer(request):
    chosen = small_transformers()[request.param]
    if isinstance(chosen, HOG):
        pytest.importorskip("skimage")
    return chosen


# ------------------------------------------------------------------------------------------- what all have in common


def test_forms_of_input_give_the_same_bits(transformer):
    images = random_images()
    shape = images.shape[1:]
    rows = images.reshape(len(images), -1)
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    expected = transformer.fit(images).transform(images)
    assert expected.dtype == np.float32
    assert transformer.image_shape_ == shape
    assert transformer.n_features_in_ == np.prod(shape)
    for X, params in [
        (rows, {"image_shape": shape}),
        (np.asfortranarray(rows), {"image_shape": shape}),
        (rows.astype(np.float64), {"image_shape": list(shape)}),
        (planes, {"channels_first": True}),
        (planes.reshape(len(images), -1), {"image_shape": shape, "channels_first": True}),
        (images[:, ::-1, ::-1][:, ::-1, ::-1], {"image_shape": shape}),
    ]:
        np.testing.assert_array_equal(clone(transformer).set_params(**params).fit(X).transform(X), expected)
    np.testing.assert_array_equal(transformer.transform(rows), expected)  # fitted on arrays, it knows the shape
    np.testing.assert_array_equal(transformer.transform(images[3:5]), expected[3:5])


def test_grey_images(transformer):
    images = random_images(channels=1)
    expected = transformer.fit(images).transform(images)
    np.testing.assert_array_equal(clone(transformer).fit(images[..., 0]).transform(images[..., 0]), expected)
    rows = images.reshape(len(images), -1)
    by_shape = clone(transformer).set_params(image_shape=(11, 9))
    np.testing.assert_array_equal(by_shape.fit(rows).transform(rows), expected)
    assert by_shape.image_shape_ == (11, 9, 1)


def test_read_only_memory_maps_are_read_in_place(transformer, tmp_path):
    images = random_images()
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    expected = clone(transformer).fit(images).transform(images)
    np.testing.assert_array_equal(transformer.fit(mapped).transform(mapped), expected)


def test_wrong_shapes_are_refused(transformer):
    images = random_images()
    rows = images.reshape(len(images), -1)
    with pytest.raises(ValueError, match=r"rows of 297 pixels.*give\s+image_shape"):
        transformer.fit(rows)
    with pytest.raises(ValueError, match="makes 300 pixels a row, but X has 297 columns"):
        clone(transformer).set_params(image_shape=(10, 10, 3)).fit(rows)
    with pytest.raises(ValueError, match=r"image_shape=\(9, 11, 3\), but X of shape"):
        clone(transformer).set_params(image_shape=(9, 11, 3)).fit(images)
    with pytest.raises(ValueError, match="all positive"):
        clone(transformer).set_params(image_shape=(297,)).fit(rows)
    with pytest.raises(ValueError, match="got an array of shape"):
        transformer.fit(images[None])
    with pytest.raises(NotFittedError):
        transformer.transform(images)
    transformer.fit(images)
    with pytest.raises(ValueError, match=r"fitted on images of shape \(H, W, C\) = \(11, 9, 3\)"):
        transformer.transform(images[:, :-1])
    with pytest.raises(ValueError, match=r"X has 296 features, but .* is expecting 297 features as input"):
        transformer.transform(rows[:, :-1])
    with pytest.raises(ValueError, match="Reshape your data"):
        transformer.transform(rows[0])
    with pytest.raises(ValueError, match="NaN"):
        transformer.transform(np.full(images.shape, np.nan))


def test_feature_names_and_frames(transformer):
    images = random_images()
    columns = [f"p{i}" for i in range(297)]
    frame = pd.DataFrame(images.reshape(len(images), -1), columns=columns)
    transformer.set_params(image_shape=(11, 9, 3)).set_output(transform="pandas")
    out = transformer.fit_transform(frame)
    names = transformer.get_feature_names_out()
    assert list(out.columns) == list(names)
    assert len(set(names)) == len(names)
    assert list(transformer.feature_names_in_) == columns
    np.testing.assert_array_equal(out, clone(transformer).set_output(transform="default").fit_transform(images))
    with pytest.raises(ValueError, match="feature names"):
        transformer.transform(frame[columns[::-1]])


def test_clone_pickle_and_repeated_fit(transformer):
    images = random_images()
    expected = transformer.fit_transform(images)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(transformer)).transform(images), expected)
    np.testing.assert_array_equal(clone(transformer).fit(images).transform(images), expected)
    transformer.fit(random_images(height=12))
    assert transformer.image_shape_ == (12, 9, 3)


def test_a_fit_that_fails_leaves_the_fitted_one_as_it_was(transformer, monkeypatch):
    images = random_images()
    frame = pd.DataFrame(images.reshape(len(images), -1)).rename(columns=str)
    transformer.set_params(image_shape=(11, 9, 3)).fit(frame)
    expected, before = transformer.transform(frame), vars(transformer).copy()
    other = random_images(height=3, width=3)  # too small for patches and for blocks
    attempts = [(frame.to_numpy()[:, :-1], None), (np.full(images.shape, np.nan), None)]
    if isinstance(transformer, PatchKMeans):
        attempts += [(other, (3, 3, 3)), (images[:, :5, :5], (5, 5, 3))]  # 12 x 4 patches are too few, see below
        transformer.set_params(n_centroids=50)
    if isinstance(transformer, HOG):
        attempts += [(other, (3, 3, 3))]
    for X, shape in attempts:
        transformer.set_params(image_shape=shape)
        with pytest.raises(ValueError):  # noqa: PT011
            transformer.fit(X)
    if isinstance(transformer, PatchKMeans):

        def interrupted(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(patch_kmeans_module, "lloyd", interrupted)
        transformer.set_params(n_centroids=5, image_shape=None)
        with pytest.raises(KeyboardInterrupt):
            transformer.fit(images[:, :8, :8])
    transformer.set_params(**{name: before[name] for name in transformer.get_params()})
    assert vars(transformer).keys() == before.keys()
    assert all(vars(transformer)[name] is value for name, value in before.items() if name.endswith("_"))
    np.testing.assert_array_equal(transformer.transform(frame), expected)


def test_batches_do_not_matter(transformer, monkeypatch):
    images = random_images()
    expected = transformer.fit_transform(images)
    monkeypatch.setattr("softmax_clf.features._images._BATCH_PIXELS", 1000)
    np.testing.assert_array_equal(clone(transformer).fit_transform(images), expected)


def test_bounded_batches():
    assert list(batches(5, 2**21)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(batches(2, 2**30)) == [slice(0, 1), slice(1, 2)]
    assert list(batches(5, 1, largest=4)) == [slice(0, 4), slice(4, 5)]


@pytest.mark.parametrize("index", [1, 2], ids=["HOG", "PatchKMeans"])
def test_bits_do_not_depend_on_n_jobs(index):
    if index == 1:
        pytest.importorskip("skimage")
    images = random_images(30)
    transformer = small_transformers()[index]
    expected = transformer.set_params(n_jobs=1).fit(images).transform(images)
    for n_jobs in (2, 5, None, -1):
        chosen = clone(transformer).set_params(n_jobs=n_jobs).fit(images)
        np.testing.assert_array_equal(chosen.transform(images), expected)


@pytest.mark.parametrize("index", [1, 2], ids=["HOG", "PatchKMeans"])
def test_progress_is_printed(index, capsys):
    if index == 1:
        pytest.importorskip("skimage")
    small_transformers()[index].set_params(verbose=1).fit(random_images()).transform(random_images())
    assert "images] 12 of 12" in capsys.readouterr().out
    small_transformers()[index].fit(random_images()).transform(random_images())
    assert capsys.readouterr().out == ""


def test_pipeline(transformer):
    images, y = smooth_images()
    pipeline = make_pipeline(transformer, StandardScaler(), LogisticRegression())
    pipeline.fit(images, y)
    assert pipeline.predict_proba(images).shape == (40, 2)
    if not isinstance(transformer, GlobalAveragePooling):  # which does not see where the bright side is
        assert pipeline.score(images, y) > 0.9
        assert len(pipeline[:-1].get_feature_names_out()) == pipeline[-1].coef_.shape[1]


# --------------------------------------------------------------------------------------------- Flatten and averages


def test_flatten_by_hand():
    X = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    flatten = Flatten().fit(X)
    out = flatten.transform(X)
    np.testing.assert_array_equal(out, [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]])
    assert out.dtype == np.float32
    assert flatten.sample_shape_ == (3, 2)
    assert list(flatten.get_feature_names_out()) == [
        "pixel_0_0", "pixel_0_1", "pixel_1_0", "pixel_1_1", "pixel_2_0", "pixel_2_1",
    ]  # fmt: skip


def test_flatten_copies_no_float32():
    X = np.ones((3, 2, 2, 2), np.float32)
    assert np.shares_memory(Flatten().fit_transform(X), X)


def test_flatten_passes_names_on():
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    assert list(Flatten().fit(frame).get_feature_names_out()) == ["a", "b"]


def test_flatten_refuses_other_shapes():
    flatten = Flatten().fit(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"X has 12 features.*samples of shape \(3, 4\), and got \(4, 3\)"):
        flatten.transform(np.zeros((2, 4, 3)))


def test_flatten_is_a_scikit_learn_estimator():
    check_estimator(Flatten(), on_skip=None)


def test_average_by_hand():
    maps = np.zeros((2, 2, 3, 2), np.uint8)
    maps[0, 1, 2] = (6, 255)
    maps[1, :, :, 1] = 200  # uint8 sums would overflow
    pooling = GlobalAveragePooling().fit(maps)
    np.testing.assert_array_equal(pooling.transform(maps), [[1, 42.5], [0, 200]])
    assert list(pooling.get_feature_names_out()) == ["channel_0", "channel_1"]


def test_average_of_planes():
    maps = np.arange(8.0).reshape(1, 2, 2, 2)
    np.testing.assert_array_equal(GlobalAveragePooling(channels_first=True).fit_transform(maps), [[1.5, 5.5]])


# --------------------------------------------------------------------------------------------------------------- HOG


def test_hog_is_scikit_images():
    feature = pytest.importorskip("skimage.feature")
    images = random_images(3, 16, 20)
    options = {"orientations": 5, "pixels_per_cell": (4, 5), "cells_per_block": (2, 3), "block_norm": "L1"}
    out = HOG(**options).fit_transform(images)
    expected = [feature.hog(image.astype(np.float32), channel_axis=-1, **options) for image in images]
    np.testing.assert_array_equal(out, np.array(expected, np.float32))


def test_hog_by_hand():
    pytest.importorskip("skimage")
    # Brightness grows from left to right: every gradient has the direction of the first bin (0 to 20 degrees).
    ramp = np.tile(np.arange(16, dtype=np.uint8) * 10, (16, 1))[None]
    hog = HOG(pixels_per_cell=(8, 8), cells_per_block=(1, 1)).fit(ramp)
    out = hog.transform(ramp).reshape(4, 9)
    np.testing.assert_allclose(out, np.eye(9)[[0, 0, 0, 0]], atol=1e-6)
    assert hog.get_feature_names_out()[9] == "hog_0_1_0_0_0"  # block row 0, column 1; its cell; bin 0


def test_hog_refuses_small_images():
    pytest.importorskip("skimage")
    with pytest.raises(ValueError, match=r"does not fit images of \(11, 9\) pixels"):
        HOG().fit(random_images())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"orientations": 0}, "orientations == 0, must be >= 1"),
        (
            {"pixels_per_cell": 8},
            "Expected pixels_per_cell to be two positive integers, got 8. Remedy: give height and width",
        ),
        ({"pixels_per_cell": (8, 0)}, r"pixels_per_cell .* got \(8, 0\)"),
        ({"cells_per_block": (2, 2, 2)}, r"cells_per_block .* got \(2, 2, 2\)"),
    ],
)
def test_hog_refuses_bad_parameters(params, message):
    pytest.importorskip("skimage")
    with pytest.raises(ValueError, match=message):
        HOG(**params).fit(random_images())


def test_hog_says_that_it_needs_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(ImportError, match="pip install scikit-image"):
        HOG().fit(random_images())


# ------------------------------------------------------------------------------------------------------- PatchKMeans


def naive_patches(images, size, contrast_eps):
    """Normalised patches (n, P, Q, size * size * C), as in the paper."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1)
    patches = patches - patches.mean(axis=-1, keepdims=True)
    return patches / np.sqrt(patches.var(axis=-1, ddof=1, keepdims=True) + contrast_eps)


def naive_encode(images, model):
    """The straightforward NumPy version of PatchKMeans.transform."""
    whitened = (naive_patches(images, model.patch_size, model.contrast_eps) - model.patch_mean_) @ model.whitening_
    cross = whitened @ model.centroids_.T
    sqdistance = (whitened**2).sum(axis=-1, keepdims=True) - 2 * cross + (model.centroids_**2).sum(axis=-1)
    distance = np.sqrt(np.maximum(sqdistance, 0))
    activation = np.maximum(distance.mean(axis=-1, keepdims=True) - distance, 0)
    r, c = (size - size // 2 for size in activation.shape[1:3])
    quarters = [activation[:, :r, :c], activation[:, :r, c:], activation[:, r:, :c], activation[:, r:, c:]]
    return np.hstack([quarter.sum(axis=(1, 2)) for quarter in quarters])


@pytest.mark.parametrize(
    ("shape", "size", "n_centroids"),
    [((12, 12, 3), 6, 20), ((11, 9, 3), 4, 70), ((8, 13, 1), 3, 128), ((6, 6, 3), 6, 3), ((7, 7, 2), 1, 5)],
)
def test_encoding_is_that_of_plain_numpy(shape, size, n_centroids):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (30, *shape)).cumsum(axis=1)
    model = PatchKMeans(n_centroids, patch_size=size, random_state=0, n_patches=1000)
    if size * size * shape[2] == 108 and shape[0] == 6:
        images = np.vstack([images] * 2)
    out = model.fit(images).transform(images)
    assert out.shape == (len(images), 4 * n_centroids)
    assert (out >= 0).all()
    # Where a patch is a centroid, its distance is the root of a difference that rounds to about 1e-4.
    np.testing.assert_allclose(out, naive_encode(images, model), rtol=2e-5, atol=2e-2)


def test_encoding_is_accurate_away_from_centroids():
    images, _ = smooth_images(60)
    model = PatchKMeans(40, random_state=0).fit(images[:30])
    expected = naive_encode(images[30:].astype(np.float64), model)
    np.testing.assert_allclose(model.transform(images[30:]), expected, rtol=1e-4, atol=1e-3)


def test_encoding_by_hand():
    # One-pixel patches of two channels: (a, b) becomes (a - b, b - a) / sqrt(2 (a - b)^2 + 4 eps); with a - b = 2
    # and eps = 2, that is (0.5, -0.5), and for a - b = -2 the opposite. Whitening is switched off.
    model = PatchKMeans(2, patch_size=1, contrast_eps=2.0, random_state=0)
    images = np.array([[[3, 1], [1, 3]], [[3, 1], [3, 1]]], np.uint8)[None]  # the lower right one differs
    model.fit(images)
    model.patch_mean_ = np.zeros(2, np.float32)
    model.whitening_ = np.eye(2, dtype=np.float32)
    model.centroids_ = np.array([[0.5, -0.5], [0.5, 0.5]], np.float32)
    # (0.5, -0.5) lies at distances 0 and 1, mean 0.5: activations 0.5 and 0. (-0.5, 0.5) lies at sqrt(2) and 1:
    # activations 0 and sqrt(2)/2 - 0.5.
    far = np.sqrt(0.5) - 0.5
    np.testing.assert_allclose(model.transform(images), [[0.5, 0, 0, far, 0.5, 0, 0.5, 0]], atol=1e-6)


def test_quarters():
    # Of 7 x 7 patches the upper left quarter has 4 x 4, the others 4 x 3, 3 x 4 and 3 x 3.
    images = np.tile(np.arange(12, dtype=np.uint8), (2, 12, 1))  # all patches of an image are alike
    model = PatchKMeans(2, random_state=0).fit(np.vstack([images, random_images(4, 12, 12, 1)[..., 0]]))
    out = model.transform(images[:1]).reshape(4, 2)
    j = out[0].argmax()
    np.testing.assert_allclose(out[:, j] / out[0, j], [1, 12 / 16, 12 / 16, 9 / 16], rtol=1e-5)
    assert list(model.get_feature_names_out()) == [
        f"patchkmeans_{q}_{j}" for q in ("0_0", "0_1", "1_0", "1_1") for j in (0, 1)
    ]


def test_large_images_are_encoded_in_bands(monkeypatch):
    images = random_images(2, 20, 20)
    model = PatchKMeans(7, random_state=0).fit(images)
    expected = model.transform(images)
    monkeypatch.setattr(patch_kmeans_module, "_BAND", 40)
    np.testing.assert_allclose(model.transform(images), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [4, 5], ids=["even", "odd"])  # 6 and 5 columns of patches
def test_mirror_averages_an_image_and_its_mirror_image(size):
    images, _ = smooth_images(60, size=9)  # half of them brighter on the right than on the left
    mirrored = images[:, :, ::-1]
    plain = PatchKMeans(20, patch_size=size, random_state=0).fit(images[:30])
    model = clone(plain).set_params(mirror=True).fit(images[:30])
    out = model.transform(images)
    expected = (naive_encode(images.astype(np.float64), model) + naive_encode(mirrored.astype(np.float64), model)) / 2
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(model.transform(mirrored), out, rtol=1e-5)
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    by_plane = clone(model).set_params(image_shape=(9, 9, 3), channels_first=True).fit(planes[:30])
    # scikit-learn's k-means sums by threads: two fits may differ in their last digits
    np.testing.assert_allclose(by_plane.transform(planes), out, rtol=1e-5, atol=1e-5)

    # The default knows left from right, and the same centroids.
    np.testing.assert_allclose(model.centroids_, plain.centroids_, rtol=1e-5, atol=1e-5)
    assert abs(plain.transform(mirrored) - plain.transform(images)).max() > 1


def test_whitening():
    images, _ = smooth_images(30)
    model = PatchKMeans(2, whitening_eps=1e-2, random_state=0).fit(images)  # all patches: n_patches is larger
    patches = naive_patches(images.astype(np.float64), 6, 10.0).reshape(-1, 108)
    np.testing.assert_allclose(model.patch_mean_, patches.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(model.whitening_, model.whitening_.T)
    # W (covariance + eps) W = 1
    regularized = np.cov(patches.T) + 1e-2 * np.eye(108)
    np.testing.assert_allclose(model.whitening_ @ regularized @ model.whitening_, np.eye(108), atol=1e-3)


def test_every_patch_is_drawn_at_most_once():
    images = random_images(4, 8, 8)
    model = PatchKMeans(1, patch_size=6, random_state=0).fit(images)
    patches = naive_patches(images.astype(np.float64), 6, 10.0).reshape(-1, 108)  # 4 images of 3 x 3 patches
    np.testing.assert_allclose(model.patch_mean_, patches.mean(axis=0), atol=1e-6)
    whitened = (patches - model.patch_mean_) @ model.whitening_
    # The only centroid is the mean of all.
    np.testing.assert_allclose(model.centroids_[0], 0, atol=1e-5)
    np.testing.assert_allclose(model.inertia_, (whitened**2).sum(), rtol=1e-4)


def test_random_state():
    images = random_images()
    first, second, other = (
        PatchKMeans(5, patch_size=4, n_patches=200, random_state=seed).fit(images).centroids_ for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_clusters", [3, 70])
def test_kmeans_finds_separate_clusters(n_threads, n_clusters):
    rng = np.random.default_rng(0)
    truth = 100 * rng.standard_normal((n_clusters, 5))
    labels = rng.integers(0, n_clusters, 5000)
    labels[:n_clusters] = range(n_clusters)
    points = (truth[labels] + rng.standard_normal((5000, 5))).astype(np.float32)
    with blas_on_one_thread():
        centroids, inertia, n_iter = lloyd(
            points, points[:n_clusters], max_iter=20, n_threads=n_threads, progress=lambda *_: None
        )
    means = np.array([points[labels == k].mean(axis=0, dtype=np.float64) for k in range(n_clusters)])
    np.testing.assert_allclose(centroids, means, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(inertia, ((points - means[labels]) ** 2).sum(), rtol=1e-2)
    assert 2 <= n_iter <= 4


def test_kmeans_by_hand_and_empty_clusters():
    points = np.array([[0], [1], [10], [11], [50]], np.float32)
    start = np.array([[0], [10], [1000]], np.float32)  # nobody is near the last one, and 50 is far from all
    centroids, inertia, _ = lloyd(points, start, max_iter=10, n_threads=1, progress=lambda *_: None)
    np.testing.assert_allclose(centroids.ravel(), [0.5, 10.5, 50])
    np.testing.assert_allclose(inertia, 1.0)
    np.testing.assert_array_equal(start.ravel(), [0, 10, 1000])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_centroids": 0}, "n_centroids == 0, must be >= 1"),
        ({"patch_size": 0}, "patch_size == 0"),
        ({"contrast_eps": 0.0}, "contrast_eps == 0.0, must be > 0"),
        ({"whitening_eps": -1.0}, "whitening_eps == -1.0"),
        ({"max_iter": 0}, "max_iter == 0"),
        ({"patch_size": 10}, "patches of 10 x 10 pixels do not fit images of 11 x 9"),
        ({"n_centroids": 10**6}, "centroids, got only 288"),
    ],
)
def test_bad_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        PatchKMeans(**params).fit(random_images())
