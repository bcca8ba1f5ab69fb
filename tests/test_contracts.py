"""Who is said to keep a contract has all members of it, and takes what they are given."""

import inspect

import numpy as np
import pytest
import scipy.sparse as sp

from softmax_clf import contracts
from softmax_clf.kernels.csr import CsrPass
from softmax_clf.kernels.dense import DensePass
from softmax_clf.metrics.curvature import Curvature
from softmax_clf.metrics.kinds import (
    AmongClasses,
    BlocksMetric,
    DiagonalMetric,
    ExactMetric,
    HeadMetric,
    KroneckerMetric,
)
from softmax_clf.metrics.scheduled import ScheduledMetric
from softmax_clf.objective import SoftmaxObjective
from softmax_clf.row_space import RowSpaceCurvature, RowSpaceMetric, RowSpaceObjective
from softmax_clf.sources.arrays import ArraySource
from softmax_clf.sources.sparse import CsrSource
from softmax_clf.sources.stream import StreamSource

KEPT = [
    (contracts.Pass, DensePass),
    (contracts.Pass, CsrPass),
    (contracts.Source, ArraySource),
    (contracts.Source, StreamSource),
    (contracts.SparseSource, CsrSource),
    (contracts.Objective, RowSpaceObjective),
    (contracts.ScoredObjective, SoftmaxObjective),
    *(
        (contracts.Metric, kind)
        for kind in (
            ExactMetric,
            BlocksMetric,
            KroneckerMetric,
            DiagonalMetric,
            HeadMetric,
            AmongClasses,
            RowSpaceMetric,
            ScheduledMetric,
        )
    ),
    (contracts.MetricMaker, Curvature),
    (contracts.MetricMaker, RowSpaceCurvature),
]


@pytest.mark.parametrize(("contract", "kind"), KEPT, ids=lambda kind: kind.__name__)
def test_methods_take_what_a_contract_says(contract, kind):
    methods = {
        name: method
        for base in contract.__mro__
        if base.__module__ == contracts.__name__
        for name, method in vars(base).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }
    assert methods
    for name, method in methods.items():
        own = list(inspect.signature(getattr(kind, name)).parameters)
        asked = list(inspect.signature(method).parameters)
        assert own[: len(asked)] == asked, name


def members(contract):
    return {name for base in contract.__mro__ for name in getattr(base, "__annotations__", {})}


def test_attributes_are_there():
    X = np.random.default_rng(0).standard_normal((20, 3))
    y = np.arange(20) % 3
    sources = ArraySource(X), StreamSource(X), CsrSource(sp.csr_array(X))
    for source in sources:
        assert all(hasattr(source, name) for name in members(contracts.Source))
    assert all(hasattr(sources[2], name) for name in members(contracts.SparseSource))
    options = {"sample_weight": None, "l2_reg_strength": 0.1, "fit_intercept": True, "n_threads": 1}
    for kind, source in ((SoftmaxObjective, sources[0]), (RowSpaceObjective, sources[2])):
        objective = kind(source, y, 3, **options)
        assert all(hasattr(objective, name) for name in members(contracts.Objective))
    metric = Curvature.from_objective(SoftmaxObjective(sources[0], y, 3, **options)).metric(np.zeros((3, 4)))
    assert metric.slack > 0
