"""Fitted classifiers as those of scikit-learn, as layers of PyTorch and as ONNX models, and layers as classifiers.

Every export predicts what the classifier predicts, to the digits of its dtype. PyTorch and skl2onnx are imported when
they are asked for; ``pip install 'softmax_clf[interop]'`` brings the latter, with what runs its models.

Pickles, cloudpickle, joblib (with ``mmap_mode`` too), skops and MLflow save the classifiers as they are, the memory of
a stream with them. skops has to be told to trust :data:`SKOPS_TRUSTED`, and so has MLflow where it saves by skops
(``skops_trusted_types``).
"""

import copy
import inspect

import numpy as np
from scipy.sparse import issparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, column_or_1d

from .estimator import SoftmaxRegressionClassifier
from .fitted import coefficients
from .inspection._linear import last_step, take_apart
from .labels import check_labels_present, places
from .model_selection.classifier import SoftmaxRegressionClassifierCV
from .prediction import SoftmaxClassifier
from .sources.arrays import as_numpy

__all__ = ["SKOPS_TRUSTED", "from_linear", "register_onnx_converter", "to_sklearn", "to_torch"]

SKOPS_TRUSTED = [
    "softmax_clf.estimator.SoftmaxRegressionClassifier",
    "softmax_clf.model_selection.classifier.SoftmaxRegressionClassifierCV",
    "softmax_clf.path.SoftmaxRegressionClassifierCV",  # where 0.1 had it
    "softmax_clf.online.DiagonalMemory",  # these three are what partial_fit remembers
    "softmax_clf.online.KroneckerMemory",
    "softmax_clf.online.Stream",
    "scipy.sparse._csr.csr_matrix",  # coef_ after sparsify
]
"""What to pass as ``trusted`` to ``skops.io.load`` for files of our classifiers: their own types, and nothing else."""

# ---------------------------------------------------------------------------------------------------------------------
# scikit-learn


def to_sklearn(clf):
    """A fitted classifier as one of scikit-learn alone, which those who have not this package can load.

    Parameters
    ----------
    clf : SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, Pipeline or search
        Fitted. Of a search its best estimator; of a pipeline its last step, in a copy that has the other steps in
        common with it.

    Returns
    -------
    :class:`~sklearn.linear_model.LogisticRegression`, or Pipeline that ends with one
        Its coefficients are a copy; sparse where they are, after ``sparsify``. It is there to predict: `standardize`
        and `tol` have no equal there, so that another fit of it need not come to the same.

    Raises
    ------
    TypeError
        If the classifier is of another kind.
    ValueError
        If coefficients, intercepts and classes do not fit together or are not finite.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> from softmax_clf.interop import to_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> to_sklearn(SoftmaxRegressionClassifier(C=10.0).fit(X, y))
    LogisticRegression(C=10.0)
    """
    clf = getattr(clf, "best_estimator_", clf)
    if isinstance(clf, Pipeline):
        (*before, (name, last)), out = clf.steps, copy.copy(clf)
        out.steps = [*before, (name, to_sklearn(last))]
        return out
    coef, intercept = _coefficients(clf)
    out = LogisticRegression(C=getattr(clf, "C_", getattr(clf, "C", 1.0)), **_penalty(clf))
    out.set_params(fit_intercept=clf.fit_intercept, class_weight=clf.class_weight)
    out.coef_, out.intercept_, out.classes_ = coef.copy(), intercept.copy(), np.array(clf.classes_)
    out.n_features_in_ = coef.shape[1]
    if hasattr(clf, "feature_names_in_"):
        out.feature_names_in_ = clf.feature_names_in_.copy()
    out.n_iter_ = np.array([getattr(clf, "n_iter_", 0)], np.int32)
    return out.sparsify() if issparse(clf.coef_) else out


def _penalty(clf):
    """The parameters of LogisticRegression that say what its penalty is."""
    l1_ratio = getattr(clf, "l1_ratio_", getattr(clf, "l1_ratio", 0.0)) or 0.0
    if not l1_ratio:
        return {}
    named = {"l1_ratio": l1_ratio, "solver": "saga"}  # the solver that knows both penalties
    if inspect.signature(LogisticRegression).parameters["penalty"].default == "l2":  # before scikit-learn 1.8
        named["penalty"] = "elasticnet"
    return named


def _coefficients(clf):
    """Those of one of our classifiers, fitted; TypeError for what is none."""
    if not isinstance(clf, SoftmaxClassifier):
        raise TypeError(
            f"Expected a SoftmaxRegressionClassifier, its CV class, or a pipeline or search that ends with one, got a "
            f"{type(clf).__name__}. Remedy: pass one of these, fitted."
        )
    check_is_fitted(clf, ("coef_", "classes_"))
    return coefficients(clf, getattr(clf, "n_features_in_", None))


def _row_a_class(coef, intercept):
    """A row for each class; of two classes the first has zeros, so that the second has the score of both."""
    if len(coef) > 1:
        return coef, intercept
    return np.vstack([np.zeros_like(coef), coef]), np.append(np.zeros_like(intercept), intercept)


# ---------------------------------------------------------------------------------------------------------------------
# PyTorch


def to_torch(clf, *, dtype=None):
    """A fitted classifier as a :class:`torch.nn.Linear`, ready to replace the last layer of a network.

    Its outputs are the scores of the classes in the order of ``classes_``, those of ``decision_function``. For two
    classes there are two outputs: the first is zero, the second the score. Their softmax is ``predict_proba``.

    Parameters
    ----------
    clf : SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV, Pipeline or search
        Fitted. Steps of a pipeline before the classifier have to be affine, as scalers and PCA are: the layer does
        what they do, and takes what they take.
    dtype : torch.dtype, default=None
        None for float32, that of networks.

    Returns
    -------
    torch.nn.Linear
        Of n_features inputs and n_classes outputs, on the CPU, with a bias in any case. Its weights, with two axes of
        length one more, are those of a 1 x 1 convolution that scores every position of a feature map.

    Raises
    ------
    TypeError
        If the classifier is of another kind.
    ValueError
        If a class has an intercept of minus infinity, or if steps are not affine.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmax_clf import SoftmaxRegressionClassifier
    >>> from softmax_clf.interop import to_torch
    >>> to_torch(SoftmaxRegressionClassifier().fit(*load_iris(return_X_y=True)))  # doctest: +SKIP
    Linear(in_features=4, out_features=3, bias=True)
    """
    torch = _imported("torch", "torch")
    _coefficients(last_step(clf))
    linear = take_apart(clf, carry_back=True)
    absent = np.isneginf(linear.intercept)
    if absent.any():
        classes = linear.classes[1:] if len(absent) == 1 else linear.classes
        raise ValueError(
            f"Expected a finite intercept for every class, since the losses and gradients of a layer are not defined "
            f"with others, got minus infinity for {classes[absent].tolist()}, which no training row had. Remedy: fit "
            "with rows of all classes, or set these intercepts to a number such as -1e4, a probability of zero."
        )
    weight, bias = _row_a_class(linear.coef, linear.intercept)
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=dtype or torch.float32)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(weight)))
        layer.bias.copy_(torch.from_numpy(np.array(bias)))
    return layer


def from_linear(layer, classes=None):
    """A classifier of given weights: a network's last layer, or text embeddings as of CLIP, one a class.

    It predicts, can be inspected and exported, and is where a fit starts from: its `warm_start` is set.

    Parameters
    ----------
    layer : layer with ``weight`` and ``bias``, or pair (weight, bias)
        A :class:`torch.nn.Linear`, a 1 x 1 convolution, or arrays or tensors of any library: ``weight`` (n_classes,
        n_features), ``bias`` (n_classes,) or None for zeros. A single row is the score of the second of two classes.
        They are copied. float64 stays, all else becomes float32.
    classes : array-like (n_classes,), default=None
        The label of each row, in any order; None for ``arange(n_classes)``. ``classes_`` has them sorted.

    Returns
    -------
    SoftmaxRegressionClassifier

    Raises
    ------
    TypeError
        If there are no weights.
    ValueError
        If shapes do not fit together, numbers are not finite, or labels are there twice.

    Examples
    --------
    >>> import numpy as np
    >>> from softmax_clf.interop import from_linear
    >>> texts = np.array([[0.6, 0.8], [1.0, 0.0], [0.0, 1.0]])  # embeddings of "a photo of a cat", ...
    >>> zero_shot = from_linear((100 * texts, None), classes=["cat", "dog", "bird"])
    >>> zero_shot.predict([[0.9, 0.1], [0.1, 0.9]]).tolist()
    ['dog', 'bird']
    """
    if isinstance(layer, tuple | list) and len(layer) == 2:
        weight, bias = layer
    elif hasattr(layer, "weight"):
        weight, bias = layer.weight, getattr(layer, "bias", None)
    else:
        raise TypeError(
            f"Expected a layer with weight and bias, or a pair (weight, bias), got a {type(layer).__name__}. Remedy: "
            "pass network.fc, for instance, or (weight, None) where there is no bias."
        )
    weight = _array(weight, "weight")
    if weight.ndim > 2 and weight.shape[2:] == (1,) * (weight.ndim - 2):  # of a convolution
        weight = weight.reshape(weight.shape[:2])
    if weight.ndim != 2 or 0 in weight.shape:
        raise ValueError(
            f"Expected weight of shape (n_classes, n_features), got {weight.shape}. Remedy: pass one row a class; of "
            "convolutions only those of size 1 are linear in the features of a position."
        )
    bias = np.zeros(len(weight), weight.dtype) if bias is None else _array(bias, "bias")
    if bias.shape != (len(weight),):
        turned = " the transposed weight, if its rows are features;" if bias.shape == weight.shape[1:] else ""
        raise ValueError(
            f"Expected bias of shape ({len(weight)},), a number for each row of weight, got {bias.shape}. Remedy: "
            f"pass{turned} a bias for each class, or None for zeros."
        )
    dtype = np.result_type(weight, bias)
    n_classes = max(len(weight), 2)
    labels, order = _sorted_labels(classes, n_classes)
    coef, intercept = weight.astype(dtype), bias.astype(dtype)
    if n_classes == 2:
        coef, intercept = _row_a_class(coef, intercept)
        coef, intercept = np.diff(coef[order], axis=0), np.diff(intercept[order])
    else:
        coef, intercept = coef[order], intercept[order]
    clf = SoftmaxRegressionClassifier(warm_start=True)
    clf.coef_, clf.intercept_ = np.ascontiguousarray(coef), intercept
    clf.classes_, clf.n_features_in_ = labels, coef.shape[1]
    coefficients(clf)  # refuses what is not finite
    return clf


def _array(values, name):
    """Weights of any library as float32, or float64 if they are that."""
    if hasattr(values, "detach"):  # a tensor that wants gradients is not read by others
        values = values.detach()
        if "bfloat16" in str(values.dtype):  # NumPy does not know it
            values = values.float()
    array = np.asarray(as_numpy(values, name))
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"Expected {name} to hold real numbers, got an array of dtype {array.dtype}. Remedy: pass numbers."
        )
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def _sorted_labels(classes, n_classes):
    """Labels in order, and the row of each."""
    if classes is None:
        return np.arange(n_classes), np.arange(n_classes)
    classes = column_or_1d(as_numpy(classes, "classes"))
    check_labels_present(classes, "classes")
    if len(classes) != n_classes:
        raise ValueError(
            f"Expected classes to name {n_classes} classes, one a row of weight, or two where there is one row, got "
            f"{len(classes)}. Remedy: pass a label for each row, in their order."
        )
    try:
        labels = np.unique(classes)
    except TypeError as error:
        raise ValueError(
            f"Expected classes that can be sorted, as those of a fit are, but {error}. Remedy: pass text alone, or "
            "numbers alone."
        ) from error
    if len(labels) < n_classes:
        twice = next(label for label in labels.tolist() if (classes == label).sum() > 1)
        raise ValueError(
            f"Expected classes to name each class once, got {twice!r} more than once. Remedy: make one row of those "
            "of a class, such as the mean of the embeddings of several texts."
        )
    return labels, places(labels, classes)


def _imported(name, package):
    """A module that not everybody has."""
    try:
        return __import__(name)
    except ImportError as error:
        raise ImportError(f"Expected {name} to be installed, but: {error}. Remedy: pip install {package}.") from error


# ---------------------------------------------------------------------------------------------------------------------
# ONNX

_ONNX_OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}


def register_onnx_converter():
    """Let skl2onnx convert our classifiers, alone and at the end of pipelines.

    ``skl2onnx.to_onnx`` then takes them, with the options ``zipmap`` (True, False or 'columns'), ``nocl`` and
    ``output_class_labels`` that it has for other classifiers. The model calculates in the dtype of its input, float32
    or float64: say which by a row of it, or by ``FloatTensorType`` or ``DoubleTensorType``. Integers are calculated
    with in float64. Labels have to be integers or text, which is what skl2onnx knows.

    It may be called more than once.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.

    Examples
    --------
    >>> from softmax_clf.interop import register_onnx_converter
    >>> register_onnx_converter()  # doctest: +SKIP
    >>> model = skl2onnx.to_onnx(clf, X[:1], options={"zipmap": False})  # doctest: +SKIP
    """
    skl2onnx = _imported("skl2onnx", "'softmax_clf[interop]'")
    for kind in (SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV):
        skl2onnx.update_registered_converter(
            kind,
            f"SoftmaxClf{kind.__name__}",
            _onnx_shapes,
            _onnx_graph,
            parser=_onnx_outputs,
            options=_ONNX_OPTIONS,
        )


def _onnx_outputs(scope, clf, inputs, custom_parsers=None):
    """What the model has as outputs, where ONNX has labels of their kind: skl2onnx fails on others in passing."""
    from skl2onnx._parse import _parse_sklearn_classifier

    _coefficients(clf)
    classes = np.asarray(clf.classes_)
    kinds = {type(label) for label in classes.tolist()}
    is_whole = classes.dtype.kind in "biu" or (classes.dtype.kind == "f" and (classes == np.round(classes)).all())
    if not (is_whole or kinds == {str} or scope.get_options(clf, {"nocl": False})["nocl"]):
        raise ValueError(
            f"Expected classes_ to be integers or text, which ONNX has labels of, got {classes[:5].tolist()} of dtype "
            f"{classes.dtype}. Remedy: pass options={{'nocl': True}}, so that labels are places in classes_, or set "
            "classes_ to integers or text."
        )
    return _parse_sklearn_classifier(scope, clf, inputs, custom_parsers)


def _onnx_shapes(operator):
    """Types and shapes of labels and probabilities, where the classifier fits the input."""
    from skl2onnx.common.data_types import FloatTensorType
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

    clf, shape = operator.raw_operator, operator.inputs[0].type.shape
    coef, _ = _coefficients(clf)
    if len(shape) == 2 and isinstance(shape[1], int) and shape[1] != coef.shape[1]:
        raise ValueError(
            f"Expected an input of {coef.shape[1]} features, as {type(clf).__name__} was fitted with, got {shape[1]}. "
            "Remedy: change initial_types, or the row that tells them."
        )
    calculate_linear_classifier_output_shapes(operator)
    label, proba = operator.outputs
    readers = [other for other in operator.scope_inst.operators.values() if proba in other.inputs]
    if any(other.type == "SklearnZipMap" for other in readers):  # which makes dictionaries of float32 only
        proba.set_type(FloatTensorType(proba.type.shape))


def _onnx_graph(scope, operator, container):
    """Scores, their softmax, and the label of the largest."""
    from skl2onnx.algebra.onnx_ops import OnnxAdd, OnnxArgMax, OnnxCast, OnnxGather, OnnxMatMul, OnnxSoftmax
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    from skl2onnx.common.utils_classifier import get_label_classes
    from skl2onnx.proto import onnx_proto

    clf, X, version = operator.raw_operator, operator.inputs[0], container.target_opset
    label_out, proba_out = operator.outputs
    classes = get_label_classes(scope, clf)
    classes = classes.astype(np.int64) if classes.dtype.kind in "biuf" else classes.astype(np.str_)
    coef, intercept = _row_a_class(*_coefficients(clf))
    kind = type(X.type)
    dtype = np.float32 if kind is FloatTensorType else np.float64
    if kind not in (FloatTensorType, DoubleTensorType):
        X = OnnxCast(X, to=onnx_proto.TensorProto.DOUBLE, op_version=version)
    products = OnnxMatMul(X, np.ascontiguousarray(coef.T, dtype), op_version=version)
    scores = OnnxAdd(products, intercept.astype(dtype), op_version=version)
    best = OnnxArgMax(scores, axis=1, keepdims=0, op_version=version)
    label = OnnxGather(classes, best, op_version=version, output_names=[label_out])
    if isinstance(proba_out.type, FloatTensorType) and dtype == np.float64:
        proba = OnnxSoftmax(scores, axis=1, op_version=version)
        to = onnx_proto.TensorProto.FLOAT
        proba = OnnxCast(proba, to=to, op_version=version, output_names=[proba_out])
    else:
        proba = OnnxSoftmax(scores, axis=1, op_version=version, output_names=[proba_out])
    label.add_to(scope, container)
    proba.add_to(scope, container)
