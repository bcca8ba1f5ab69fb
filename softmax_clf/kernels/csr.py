"""Passes over sparse rows (CSR): loss and gradient, scores and probabilities.

Their cost is in proportion to the stored values.

Scores and gradient are the same loop, a sum of rows of a dense matrix that the indices of a sparse row pick:

    scores of row i:          sum_j x_ij * coef.T[j]             over the stored values of row i, from CSR
    gradient of feature j:    sum_i x_ij * grad_pointwise[i]     over the stored values of column j, from CSC

Both matrices have a row of all classes for each index, so a stored value costs one gather of adjacent memory. The
transpose of X is kept beside it for the second: so every thread writes features of its own, and no sums of groups,
each of the size of the gradient, are to be added up.
"""

from functools import lru_cache

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .elementary import clear, smaller
from .jit import intrinsic, jit, jit_part
from .label_sets import N_SUMS, label_set_losses
from .softmax import BLOCK_CURVATURE, BLOCK_LOSS, losses, optional, predictions, raw_scores, read_scores, row_states
from .threads import run_tasks
from .tiles import VECTOR_BYTES, Lanes, aligned_zeros, data_and_stride, row_pointer

_BLOCK_ROWS = 64
_CHUNK = 256  # stored values that are summed in the precision of X, before they are added to a sum in float64
_MAX_VECTORS = 8  # accumulators of a gather
_TASK_FLOPS = 2e6  # work of a task, some 100 us: gathers are slower than what is in order
_MAX_TASKS = 256
_FEW_COEFFICIENTS = 1 << 14  # up to which to transpose them is not worth a kernel, nor its compilation
_AHEAD = 8  # stored values ahead, whose rows are fetched meanwhile

_INT = ir.IntType(64)


def _plain_gather(data, indices, start, stop, matrix, k, out, lanes, n_vectors):
    columns = slice(k, k + lanes * n_vectors)
    out[columns] += data[start:stop].astype(matrix.dtype, copy=False) @ matrix[indices[start:stop], columns]


@intrinsic(_plain_gather, prefer_literal=True)
def _gather(typingctx, data, indices, start, stop, matrix, k, out, lanes_, n_vectors):
    """Add ``sum_q data[q] * matrix[indices[q], k:k + w]`` over start <= q < stop to ``out[k:k + w]``.

    w is ``lanes_ * n_vectors``. The sum is in the precision of the matrix, its addition in that of ``out``.

    Parameters
    ----------
    data : (n_stored,), indices : (n_stored,) int32 or int64  # IN
    start, stop : intp                          # IN
    matrix : (n_indices, n_padded)              # IN
    k : intp                                    # IN
    out : (n_padded,)                           # OUT
    lanes_, n_vectors : literal int             # IN
    """
    if not isinstance(lanes_, types.IntegerLiteral) or not isinstance(n_vectors, types.IntegerLiteral):
        return None
    L, V = lanes_.literal_value, n_vectors.literal_value

    def codegen(context, builder, signature, args):
        data_value, indices_value, start, stop, matrix_value, k, out_value = args[:7]
        lanes = Lanes(builder, matrix.dtype)
        lanes.width, lanes.type = L, ir.VectorType(lanes.scalar, L)
        lanes.suffix, lanes.zero = f"v{L}f{matrix.dtype.bitwidth}", ir.Constant(lanes.type, None)
        data_pointer = context.make_array(data)(context, builder, data_value).data
        indices_pointer = context.make_array(indices)(context, builder, indices_value).data
        matrix_data, matrix_stride = data_and_stride(context, builder, matrix, matrix_value)
        out_pointer = context.make_array(out)(context, builder, out_value).data
        tile = [cgutils.alloca_once(builder, lanes.type) for _ in range(V)]
        for slot in tile:
            builder.store(lanes.zero, slot)
        last = builder.sub(stop, _INT(1))

        def row_at(q):
            index = builder.load(builder.gep(indices_pointer, [q]))
            index = builder.sext(index, _INT) if indices.dtype.bitwidth < 64 else index
            return builder.gep(row_pointer(builder, matrix_data, matrix_stride, index), [k])

        with cgutils.for_range_slice(builder, start, stop, _INT(1), _INT) as (q, _):
            ahead = builder.add(q, _INT(_AHEAD))
            ahead = builder.select(builder.icmp_signed("<", ahead, last), ahead, last)
            next_row = row_at(ahead)
            lanes.prefetch(next_row, L * V * lanes.itemsize)
            x = lanes.splat(builder.load(builder.gep(data_pointer, [q])))
            row = row_at(q)
            for v in range(V):
                builder.store(lanes.fma(x, lanes.load(row, _INT(v * L)), builder.load(tile[v])), tile[v])

        total = Lanes(builder, out.dtype)
        total.type = ir.VectorType(total.scalar, L)
        for v in range(V):
            offset = builder.add(k, _INT(v * L))
            added = builder.load(tile[v])
            if total.scalar != lanes.scalar:
                added = builder.fpext(added, total.type)
            summed = builder.fadd(total.load(out_pointer, offset), added)
            builder.store(summed, total.at(out_pointer, offset), align=total.itemsize)
        return context.get_dummy_value()

    signature = types.void(data, indices, start, stop, matrix, k, out, lanes_, n_vectors)
    return signature, codegen


@lru_cache
def _block_scores(lanes, n_vectors):
    @jit_part
    def block_scores(data, indices, indptr, row, n_rows, coef, sums, scores_out):
        """Scores by class of the rows row:row + n_rows."""
        for i in range(n_rows):
            clear(sums)
            start, stop = np.intp(indptr[row + i]), np.intp(indptr[row + i + 1])
            for k in range(0, coef.shape[1], lanes * n_vectors):
                _gather(data, indices, start, stop, coef, k, sums, lanes, n_vectors)
            for k in range(scores_out.shape[0]):
                scores_out[k, i] = sums[k]

    return block_scores


@lru_cache
def _loss_kernel(lanes, n_vectors, block_loss):
    block_scores = _block_scores(lanes, n_vectors)
    block_losses = block_loss if block_loss is label_set_losses else losses(block_loss)

    @jit
    def loss(
        data, indices, indptr, start, stop, coef, intercept, y, offset, weight, weighting, stored, n_scores,
        sums, scores, work, loss_out, grad_intercept_out, pointwise_out,
    ):  # fmt: skip
        """Losses of the rows start:stop, and what their gradient is made of.

        data, indices, indptr : CSR                         # IN
        coef : (n_features, n_padded), intercept : (n_outputs,)  # IN
        y, offset, weight, weighting, stored, n_scores : as in the dense kernel  # IN
        sums : (n_padded,), scores : (n_outputs, block_rows), work : (5, block_rows)
        loss_out : (n_problems,) float64                    # OUT
        grad_intercept_out : (n_outputs,) float64           # OUT
        pointwise_out : (n_samples, n_padded)               # OUT
        """
        clear(loss_out)
        clear(grad_intercept_out)
        block_rows = scores.shape[1]
        for row in range(start, stop, block_rows):
            n_rows = smaller(block_rows, stop - row)
            if stored.shape[0] > 0:
                read_scores(stored, weighting, row, n_rows, scores)
            else:
                block_scores(data, indices, indptr, row, n_rows, coef, sums, scores)
            block_losses(
                scores, n_scores, row, n_rows, intercept, y, offset, weight, weighting,
                work, loss_out, grad_intercept_out,
            )  # fmt: skip
            for i in range(n_rows):
                for k in range(scores.shape[0]):
                    pointwise_out[row + i, k] = scores[k, i]

    return loss


@lru_cache
def _row_sum(lanes, n_vectors):
    @jit_part
    def row_sum(data, indices, indptr, i, matrix, sums_out):
        """``sum_q data[q] * matrix[indices[q]]`` over the stored values q of a row that may be long."""
        clear(sums_out)
        end = np.intp(indptr[i + 1])
        for first in range(np.intp(indptr[i]), end, _CHUNK):
            last = smaller(first + _CHUNK, end)
            for k in range(0, matrix.shape[1], lanes * n_vectors):
                _gather(data, indices, first, last, matrix, k, sums_out, lanes, n_vectors)

    return row_sum


@lru_cache
def _gradient_kernel(lanes, n_vectors):
    row_sum = _row_sum(lanes, n_vectors)

    @jit
    def gradient(data, indices, indptr, start, stop, pointwise, sums, grad_out):
        """Gradient by the features start:stop.

        data, indices, indptr : CSC                         # IN
        pointwise : (n_samples, n_padded)                   # IN
        sums : (n_padded,) float64                          # workspace
        grad_out : (n_outputs, n_features) float64          # OUT
        """
        for j in range(start, stop):
            row_sum(data, indices, indptr, j, pointwise, sums)
            for k in range(grad_out.shape[0]):
                grad_out[k, j] = sums[k]

    return gradient


@lru_cache
def _combine_kernel(lanes, n_vectors):
    row_sum = _row_sum(lanes, n_vectors)

    @jit
    def combine(data, indices, indptr, start, stop, matrix, sums, out):
        """``sum_q data[q] * matrix[indices[q]]`` over the stored values q of row i, for start <= i < stop.

        data, indices, indptr : CSR or CSC                  # IN
        matrix : (n_indices, n_padded)                      # IN
        sums : (n_padded,) float64                          # workspace
        out : (n_rows, n_padded)                            # OUT
        """
        for i in range(start, stop):
            row_sum(data, indices, indptr, i, matrix, sums)
            for k in range(out.shape[1]):
                out[i, k] = sums[k]

    return combine


@lru_cache
def _predict_kernel(lanes, n_vectors, write):
    block_scores = _block_scores(lanes, n_vectors)

    @jit
    def predict(data, indices, indptr, start, stop, coef, intercept, offset, kind, sums, scores, work, out):
        """Raw predictions, probabilities or their logarithms of the rows start:stop; as the dense kernel."""
        block_rows = scores.shape[1]
        for row in range(start, stop, block_rows):
            n_rows = smaller(block_rows, stop - row)
            block_scores(data, indices, indptr, row, n_rows, coef, sums, scores)
            write(scores, row, n_rows, intercept, offset, kind, work, out)

    return predict


@jit
def _set_coef(coef, start, stop, coef_out):
    """Transpose the columns start:stop: ``coef`` (n_outputs, n_features) into ``coef_out`` (n_features, n_padded)."""
    for j0 in range(start, stop, 16):
        for k in range(coef.shape[0]):
            for j in range(j0, smaller(j0 + 16, stop)):
                coef_out[j, k] = coef[k, j]


def _tile(n_outputs, itemsize):
    """Lanes of a vector and vectors of a gather: the widest that pad by a third at most."""
    lanes = VECTOR_BYTES // itemsize
    while lanes > 1 and -(-n_outputs // lanes) * lanes > 4 / 3 * n_outputs:
        lanes //= 2
    return lanes, min(-(-n_outputs // lanes), _MAX_VECTORS)


class CsrPass:
    """The passes over sparse rows; parameters and methods as those of :class:`~.dense.DensePass`.

    Instead of arrays the methods take sources: objects with ``data, indices, indptr`` of the CSR format, and the
    same of the transpose in ``columns``; one part, of all rows.

    Where there is an ``origin`` (n_features,), of dtype, the rows are what is stored and that: each has a share of
    ``coef @ origin`` in its scores, as of the intercepts.
    """

    def __init__(self, dtype, n_rows, n_features, n_problems, n_scores, n_threads, origin=None):
        self.dtype, self.n_rows, self.n_features, self.n_threads = np.dtype(dtype), n_rows, n_features, n_threads
        self.n_problems, self.n_scores, self.n_outputs = n_problems, n_scores, n_problems * n_scores
        self.tile = _tile(self.n_outputs, self.dtype.itemsize)
        width = self.tile[0] * self.tile[1]
        self.n_padded = -(-self.n_outputs // width) * width
        self.origin = origin if origin is not None and origin.any() else None
        self.coef = self.pointwise = self.grad = None
        self.cuts = []
        self.workspaces = [self._workspace() for _ in range(n_threads)]

    def _workspace(self):
        scores = np.empty((self.n_outputs, _BLOCK_ROWS), self.dtype)
        return np.empty(self.n_padded, self.dtype), scores, np.empty((5, _BLOCK_ROWS), self.dtype)

    def _cut(self, indptr):
        """First rows of tasks of about as many stored values each, and the end: by the data alone, not the threads."""
        for known, cuts in self.cuts:
            if known is indptr:
                return cuts
        n = len(indptr) - 1
        work = indptr + np.arange(0, 4 * (n + 1), 4)  # an empty row is not for nothing
        n_tasks = int(min(max(2 * int(work[-1]) * self.n_padded / _TASK_FLOPS, 1), _MAX_TASKS, n))
        cuts = np.searchsorted(work, work[-1] * np.arange(1, n_tasks) / n_tasks)
        cuts = np.unique(np.concatenate([[0], cuts, [n]]))
        self.cuts = [(indptr, cuts), *self.cuts[:1]]  # of rows and columns
        return cuts

    def _run(self, bounds, task):
        run_tasks(lambda t, slot: task(t, bounds[t], bounds[t + 1], slot), len(bounds) - 1, self.n_threads)

    def _set_point(self, coef, intercept):
        if self.coef is None:
            self.coef = aligned_zeros((self.n_features, self.n_padded), self.dtype)
        if coef.size <= _FEW_COEFFICIENTS:
            with np.errstate(over="ignore"):  # as in the dense pass
                self.coef[:, : self.n_outputs] = coef.T
        else:
            cuts = np.append(np.arange(0, self.n_features, 1 << 14), self.n_features)
            self._run(cuts, lambda t, start, stop, slot: _set_coef(coef, start, stop, self.coef))
        return self._intercept(coef, intercept)

    def _intercept(self, coef, intercept):
        """Scores of the origin, one for each output, in an array that can be written: one compiled kernel."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.origin is not None:
                intercept = intercept + (coef * self.origin).sum(axis=1)
            return np.array(np.broadcast_to(intercept, self.n_outputs), self.dtype)

    def _make_pointwise(self):
        if self.pointwise is None:
            self.pointwise = aligned_zeros((self.n_rows, self.n_padded), self.dtype)

    def loss_gradient(self, parts, coef, intercept, y, weight, weighting, offset=None):
        """Weighted cross-entropy and its gradient, summed over the rows."""
        block_loss = BLOCK_LOSS[self.n_scores == 1, y.ndim]
        return self._sum_blocks(block_loss, parts, coef, intercept, y, weight, weighting, offset)

    def hessian_product(self, parts, coef, intercept, state, weight, weighting, offset=None):
        """Products of the Hessians of the loss and the directions, and the curvatures along these."""
        block_curvature = BLOCK_CURVATURE[self.n_scores == 1]
        return self._sum_blocks(block_curvature, parts, coef, intercept, state, weight, weighting, offset)

    def loss_gradient_of_scores(self, parts, stored, y, weight, weighting):
        """As :meth:`loss_gradient`, of scores that are known: half a pass."""
        block_loss = BLOCK_LOSS[self.n_scores == 1, y.ndim]
        return self._sum_blocks(block_loss, parts, None, 0.0, y, weight, weighting, None, stored)

    def label_set_gradient(self, parts, coef, intercept, label_sets, weighting):
        """Losses of problems that have labels of their own, and their gradients."""
        labels, row_weight, class_weight, firsts = label_sets
        known = labels, *optional((row_weight, 2), (class_weight, 1), dtype=self.dtype), firsts
        options = None, None, N_SUMS * len(weighting)
        sums, *grads = self._sum_blocks(label_set_losses, parts, coef, intercept, known, (), weighting, *options)
        return sums.reshape(-1, N_SUMS), *grads

    def _sum_blocks(
        self, block_loss, parts, coef, intercept, known, weight, weighting, offset, stored=None, n_sums=None
    ):
        """Losses and gradients, or what ``block_loss`` has in their place; those of the rows are in ``pointwise``."""
        ((X, _),) = parts
        if stored is None:
            intercept = self._set_point(coef, intercept)
        else:
            if self.coef is None:
                self.coef = aligned_zeros((self.n_features, self.n_padded), self.dtype)
            intercept = np.zeros(self.n_outputs, self.dtype)
        if self.grad is None:
            self.grad = np.empty((self.n_outputs, self.n_features))
        self._make_pointwise()
        offset, weight, stored = optional((offset, 2), (weight, 2), (stored, 3), dtype=self.dtype)
        kernel = _loss_kernel(*self.tile, block_loss)
        bounds = self._cut(X.indptr)
        loss = np.empty((len(bounds) - 1, n_sums or self.n_problems))
        grad_intercept = np.empty((len(bounds) - 1, self.n_outputs))

        def rows(t, start, stop, slot):
            kernel(
                X.data, X.indices, X.indptr, start, stop, self.coef, intercept, known, offset, weight, weighting,
                stored, self.n_scores, *self.workspaces[slot], loss[t], grad_intercept[t], self.pointwise,
            )  # fmt: skip

        self._run(bounds, rows)
        self._by_feature(X.columns, X.columns.data, self.grad)
        grad_intercept = grad_intercept.sum(axis=0)
        if self.origin is not None:
            self.grad += grad_intercept[:, None] * self.origin
        return loss.sum(axis=0), self.grad, grad_intercept

    def _by_feature(self, columns, data, out):
        """``sum_i x_ij * pointwise[i]`` for every feature, the values x in the order of ``columns``."""
        kernel, sums = _gradient_kernel(*self.tile), np.empty((self.n_threads, self.n_padded))

        def features(t, start, stop, slot):
            kernel(data, columns.indices, columns.indptr, start, stop, self.pointwise, sums[slot], out)

        self._run(self._cut(columns.indptr), features)

    def weighted_squares(self, X, row_weight):
        """``sum_i row_weight[i, k] * x_ij^2``.

        Parameters
        ----------
        X : source
        row_weight : array (n_samples, n_outputs)

        Returns
        -------
        array (n_outputs, n_features) float64
        """
        data, out = X.columns.data, np.empty((self.n_outputs, self.n_features))
        largest = max(data.max(initial=0.0), -data.min(initial=0.0)) or 1.0
        squares = np.square(data / largest)  # neither over- nor underflow
        squares.flags.writeable = False  # as the data are: no other compiled kernel
        self._make_pointwise()
        self.pointwise[:, : self.n_outputs] = row_weight
        self._by_feature(X.columns, squares, out)
        out *= float(largest) ** 2
        return out

    def combine(self, X, matrix, out):
        """``X @ matrix``, or ``X.T @ matrix`` where X is the columns of a source.

        Parameters
        ----------
        X : object with ``data, indices, indptr``
        matrix : array (n_indices, n_padded) of dtype
        out : array (n_rows, n_padded) of dtype
            Written to.
        """
        kernel, sums = _combine_kernel(*self.tile), np.empty((self.n_threads, self.n_padded))

        def rows(t, start, stop, slot):
            kernel(X.data, X.indices, X.indptr, start, stop, matrix, sums[slot], out)

        self._run(self._cut(X.indptr), rows)

    def predict(self, parts, coef, intercept, kind, out, offset=None):
        """Raw predictions, probabilities or log-probabilities (``kind``) of the rows, for one problem."""
        self._write_blocks(predictions, parts, coef, intercept, kind, out, offset)

    def row_state(self, parts, coef, intercept, weighting, out, offset=None):
        """What :meth:`hessian_product` needs of the rows at points: probabilities, or the one score of two classes."""
        self._write_blocks(row_states, parts, coef, intercept, weighting, out, offset)

    def raw_scores(self, parts, coef, intercept, weighting, out, offset=None):
        """Scores of points, with intercepts and offsets, by class."""
        self._write_blocks(raw_scores, parts, coef, intercept, weighting, out, offset)

    def _write_blocks(self, write, parts, coef, intercept, kind, out, offset):
        ((X, _),) = parts
        indices, (offset,) = X.indices, optional((offset, 2), dtype=self.dtype)
        if len(indices) < self.n_features // 4:
            # of few rows: the coefficients of each stored value, instead of transposing those of all features
            rows_of_coef = np.zeros((len(indices), self.n_padded), self.dtype)
            rows_of_coef[:, : self.n_outputs] = coef[:, indices].T
            indices = np.arange(len(indices), dtype=indices.dtype)
            indices.flags.writeable = False  # as those of X: one compiled kernel
            intercept = self._intercept(coef, intercept)
        else:
            intercept = self._set_point(coef, intercept)
            rows_of_coef = self.coef
        kernel = _predict_kernel(*self.tile, write)

        def rows(t, start, stop, slot):
            workspace = self.workspaces[slot]
            kernel(X.data, indices, X.indptr, start, stop, rows_of_coef, intercept, offset, kind, *workspace, out)

        self._run(self._cut(X.indptr), rows)
