"""Passes over dense rows: loss and gradient, scores and probabilities.

A block of rows goes through scores, softmax and gradient while it lies in cache, so a pass reads X once.
Float32 and float64 rows in C order are read where they are; any other rows are converted, a block at a
time, into a workspace.

Determinism: rows are cut into slices of some size, and each slice into groups, by the shape of the data alone. The
first groups of all slices are summed in order, by one thread at a time, into sums of their own, and so are the
others; those sums are added in the order of the groups. So the bits of a result depend neither on the number of
threads nor on whether slices come one by one or all at once. See docs/kernels.md.
"""

from functools import lru_cache

import numpy as np

from .convert import from_rows, readable
from .elementary import clear, smaller
from .jit import jit, jit_part
from .label_sets import N_SUMS, label_set_losses
from .softmax import BLOCK_CURVATURE, BLOCK_LOSS, losses, optional, predictions, raw_scores, read_scores, row_states
from .threads import run_tasks
from .tiles import (
    TILE_CLASSES,
    VECTOR_BYTES,
    aligned_empty,
    aligned_zeros,
    gradient_tile,
    score_tile,
    tile_rows,
    tile_vectors,
)

_BLOCK_BYTES = 1 << 18  # of X in a block: it and the next one, fetched ahead, stay in a second-level cache
_GROUP_FLOPS = 4e6  # at least this much work for a thread to take: some 50 us against 20 us for the hand-over
_GROUP_ROWS = 512  # at least these, beyond four groups: to add up the sums of each takes as long as 40 rows
_CALL_FLOPS = 1e9  # at most this much in one kernel call, some 20 ms: Ctrl-C waits for it
_SOME_OUTPUTS = 20  # from here on each value of X is read so often that it pays to have it begin a cache line
_MANY_OUTPUTS = 64  # scores of a row: from here on so often that all places in the caches matter
# From here on rows that share places in the caches are worth a copy. With shorter vectors a pass computes for longer,
# and the copy costs less of it than it spares as soon as two tiles read the rows.
_APART_OUTPUTS = _MANY_OUTPUTS if VECTOR_BYTES == 64 else TILE_CLASSES[0]
_MAX_GROUPS = 32  # of a slice: with more, a thread works on too little of each slice at a time


# Where a block of rows is to be read: which array, and its first row there. A kernel is made with this or with one of
# those that :func:`.convert.readable` chooses from.


@jit_part
def _in_place(X, row, n_rows, rows):
    return X, row


@jit_part
def _copied(X, row, n_rows, rows):
    """Copy rows to ``rows``, which may have columns of zeros besides."""
    for i in range(n_rows):
        x, out = X[row + i], rows[i]
        for j in range(x.shape[0]):
            out[j] = x[j]
    return rows, 0


_ROW_AFTER_ROW = _in_place, _copied, from_rows  # what comes next can be foreseen


@jit_part
def _find_tiles(weight, weighting, n_scores, row, n_rows, tile_classes, n_padded, tiles_out):
    """First classes of the tiles that some row of row:row + n_rows weighs something for, and return their number.

    Of stacked problems that hold out folds, whole blocks of rows weigh nothing for one of them.
    """
    n_tiles = 0
    for k in range(0, n_padded, tile_classes):
        m, i = k // n_scores, 0
        last = smaller((k + tile_classes - 1) // n_scores, weighting.shape[0] - 1)
        while m <= last and weight[weighting[m], row + i] == 0:
            i += 1
            if i == n_rows:
                m, i = m + 1, 0
        if m <= last:
            tiles_out[n_tiles] = k
            n_tiles += 1
    return n_tiles


@lru_cache
def tile_loops(tile_classes, several, score_fetches, gradient_fetches=0):
    """Scores and gradient of a block in tiles of ``tile_classes``, whose first classes are ``tiles``: one, or several.

    Meanwhile rows of a source are fetched, those from ``ahead`` on: as many as are read where either of the fetches
    is one, one n-th of them where it is n, none where it is zero. The scores of the first tile do it or, of
    ``several``, those of the first two: in the time of one, memory does not send as much. With vectors of 64 bytes
    it does not in the time of two either, and the sooner it begins the better.
    """
    tall, wide = tile_rows(tile_classes), tile_vectors(tile_classes)
    n_fetching = 2 if several and VECTOR_BYTES < 64 else 1
    part = n_fetching * score_fetches
    n_parts = max(part, 1)  # where there are none, no rows are fetched

    @jit_part
    def block_scores(X, row, n_rows, coef, tiles, source, ahead, scores_out):
        size = n_rows
        if coef.shape[0] > _MANY_OUTPUTS:  # rows are read often: as many at a time as leave room for the coefficients
            some = _BLOCK_BYTES // (X.shape[1] * X.itemsize) // tall * tall
            size = some if some > 0 else tall
        for start in range(0, n_rows, size):
            stop = smaller(start + size, n_rows)
            for t in range(smaller(n_fetching, len(tiles))):
                from_row = ahead + t * n_rows // n_parts
                for i in range(start, stop, tall):
                    # fmt: off
                    score_tile(
                        X, row, n_rows, coef, tiles[t], scores_out, i, source, from_row, tall, tile_classes, part
                    )
                    # fmt: on
            if several:
                for t in range(n_fetching, len(tiles)):
                    for i in range(start, stop, tall):
                        score_tile(X, row, n_rows, coef, tiles[t], scores_out, i, X, 0, tall, tile_classes, 0)

    @jit_part
    def block_gradient(X, row, n_rows, pointwise, tiles, source, ahead, grad_out):
        n_features, first = X.shape[1], tiles[0]
        width = VECTOR_BYTES // X.itemsize
        j = 0
        while j + wide * width <= n_features:
            # fmt: off
            gradient_tile(
                X, row, n_rows, j, pointwise, first, grad_out, source, ahead, tile_classes, wide, True,
                gradient_fetches, False,
            )
            # fmt: on
            if several:
                for t in range(1, len(tiles)):
                    k = tiles[t]
                    gradient_tile(X, row, n_rows, j, pointwise, k, grad_out, X, 0, tile_classes, wide, True, 0, False)
            j += wide * width
        while j + width <= n_features:
            for t in range(len(tiles)):
                gradient_tile(X, row, n_rows, j, pointwise, tiles[t], grad_out, X, 0, tile_classes, 1, True, 0, False)
            j += width
        if j < n_features:
            for t in range(len(tiles)):
                gradient_tile(X, row, n_rows, j, pointwise, tiles[t], grad_out, X, 0, tile_classes, 1, False, 0, False)

    return block_scores, block_gradient


@lru_cache
def _loss_gradient_kernel(tile_classes, several, locate, block_loss):
    block_scores, block_gradient = tile_loops(tile_classes, several, *((2, 2) if locate in _ROW_AFTER_ROW else (0, 0)))
    block_losses = block_loss if block_loss is label_set_losses else losses(block_loss)

    @jit
    def loss_gradient(
        X, place, start, stop, coef, intercept, y, offset, weight, weighting, stored, n_scores, fresh,
        rows, scores, work, tiles, loss_out, grad_out, grad_intercept_out,
    ):  # fmt: skip
        """One pass over X[start:stop], added to the outputs (set, where ``fresh``).

        X : (n_rows, n_features)                            # IN rows from ``place`` on, of n_samples
        coef : (n_padded_classes, n_padded_features)        # IN
        intercept : (n_padded_classes,)                     # IN
        y : (n_samples,) intp or (n_samples, n_scores)      # IN or what ``block_loss`` takes in its place
        offset : (n_samples, n_scores), or (0, 0)           # IN
        weight : (n_weightings, n_samples), or (0, 0)       # IN
        weighting : (n_problems,) intp                      # IN row of weight that a problem uses
        stored : (n_weightings, n_scores, n_samples), or (0, 0, 0)  # IN scores, in the place of those of ``coef``
        rows : (block_rows, n_features), scores : (n_padded_classes, block_rows), work : (5, block_rows),
        tiles : (n_tiles,) intp                             # workspace
        loss_out : (n_problems,) float64                    # OUT
        grad_out : as coef, float64                         # OUT
        grad_intercept_out : as intercept, float64          # OUT
        """
        if fresh:
            clear(loss_out)
            clear(grad_out)
            clear(grad_intercept_out)
        block_rows, busy = scores.shape[1], tiles
        for row in range(start, stop, block_rows):
            n_rows = smaller(block_rows, stop - row)
            if weight.shape[0] > 0:
                n_tiles = _find_tiles(weight, weighting, n_scores, place + row, n_rows, tile_classes, len(coef), tiles)
                if n_tiles == 0:
                    continue
                busy = tiles[:n_tiles]
            block, first = locate(X, row, n_rows, rows)
            ahead = row + block_rows
            if stored.shape[0] > 0:
                read_scores(stored, weighting, place + row, n_rows, scores)
            else:
                block_scores(block, first, n_rows, coef, busy, X, ahead, scores)
            block_losses(
                scores, n_scores, place + row, n_rows, intercept, y, offset, weight, weighting,
                work, loss_out, grad_intercept_out,
            )  # fmt: skip
            block_gradient(block, first, n_rows, scores, busy, X, ahead + block_rows // 2, grad_out)

    return loss_gradient


@lru_cache
def _gram_product_kernel(tile_classes, several):
    block_scores, block_gradient = tile_loops(tile_classes, several, 2, 2)

    @jit
    def gram_product(X, start, stop, coef, fresh, scores, tiles, grad_out):
        """``coef @ X.T @ X`` over X[start:stop], added to the output (set, where ``fresh``).

        X : (n_samples, n_features)                         # IN
        coef : (n_padded_classes, n_padded_features)        # IN
        scores : (n_padded_classes, block_rows)             # workspace
        tiles : (n_tiles,) intp                             # IN first classes
        grad_out : as coef, float64                         # OUT
        """
        if fresh:
            clear(grad_out)
        block_rows = scores.shape[1]
        for row in range(start, stop, block_rows):
            n_rows = smaller(block_rows, stop - row)
            ahead = row + block_rows
            block_scores(X, row, n_rows, coef, tiles, X, ahead, scores)
            block_gradient(X, row, n_rows, scores, tiles, X, ahead + block_rows // 2, grad_out)

    return gram_product


@lru_cache
def _predict_kernel(tile_classes, several, locate, write):
    block_scores, _ = tile_loops(tile_classes, several, 1 if locate in _ROW_AFTER_ROW else 0)

    @jit
    def predict(X, place, start, stop, coef, intercept, offset, kind, rows, scores, work, tiles, out):
        """Raw predictions, probabilities or their logarithms of X[start:stop], as ``write`` puts them.

        X : (n_rows, n_features)                            # IN rows from ``place`` on, of n_samples
        coef : (n_padded_classes, n_padded_features)        # IN
        intercept : (n_padded_classes,)                     # IN
        offset : (n_samples, n_scores), or (0, 0)           # IN
        rows : (block_rows, n_features), scores : (n_padded_classes, block_rows), work : (5, block_rows)
        tiles : (n_tiles,) intp                             # IN first classes
        kind, out : as ``write`` takes them                 # IN, OUT
        """
        block_rows = scores.shape[1]
        for row in range(start, stop, block_rows):
            n_rows = smaller(block_rows, stop - row)
            block, first = locate(X, row, n_rows, rows)
            block_scores(block, first, n_rows, coef, tiles, X, row + block_rows, scores)
            write(scores, place + row, n_rows, intercept, offset, kind, work, out)

    return predict


@lru_cache
def _moments_kernel(locate):
    @jit
    def moments(X, place, start, stop, shift, weight, fresh, rows, first_out, second_out):
        """Weighted sums of ``x - shift`` and of its square, over X[start:stop] (set, where ``fresh``).

        X : (n_rows, n_features)                            # IN rows from ``place`` on, of n_samples
        shift : (n_features,) float64                       # IN
        weight : (n_samples,) float64, or (0,)              # IN
        rows : (block_rows, n_features)                     # workspace
        first_out, second_out : (n_features,) float64       # OUT
        """
        if fresh:
            first_out[:] = 0.0
            second_out[:] = 0.0
        block_rows = rows.shape[0]
        for row in range(start, stop, block_rows):
            n_rows = smaller(block_rows, stop - row)
            block, first = locate(X, row, n_rows, rows)
            for i in range(n_rows):
                x, w = block[first + i], 1.0 if weight.shape[0] == 0 else weight[place + row + i]
                for j in range(shift.shape[0]):
                    d = x[j] - shift[j]
                    first_out[j] += w * d
                    second_out[j] += w * d * d

    return moments


@jit
def _add_groups(partial, start, stop, total_out):
    """Sum ``partial`` (n_groups, size) over the groups, in order, for entries start:stop."""
    for e in range(start, stop):
        total_out[e] = partial[0, e]
    for g in range(1, partial.shape[0]):
        for e in range(start, stop):
            total_out[e] += partial[g, e]


@lru_cache
def _tile_classes(n_outputs):
    """Classes of a tile: those that compute the least padding, the larger where equal."""

    def cost(tile):
        rows = tile_rows(tile)
        return -(-n_outputs // tile) * (max(rows * tile, rows + tile) / rows + 1 / tile_rows(TILE_CLASSES[0]))

    return min(TILE_CLASSES, key=cost)


def _round_up(n, multiple):
    return -(-n // multiple) * multiple


class DensePass:
    """The passes over dense arrays of one width: sizes, workspaces and kernels, made once for many passes.

    Parameters
    ----------
    dtype : float32 or float64
        Of the arithmetic, of coefficients and of probabilities.
    slice_rows : int
        Rows of a slice.
    n_features, n_problems, n_scores : int
        Problems are stacked: coefficients are (n_problems * n_scores, n_features).
    n_threads : int
    """

    def __init__(self, dtype, slice_rows, n_features, n_problems, n_scores, n_threads):
        self.dtype, self.n_features, self.n_threads = np.dtype(dtype), n_features, n_threads
        self.slice_rows = max(slice_rows, 1)
        self.n_problems, self.n_scores, self.n_outputs = n_problems, n_scores, n_problems * n_scores
        self.tile_classes = _tile_classes(self.n_outputs)
        width = VECTOR_BYTES // self.dtype.itemsize
        # Rows a multiple of 4 KiB apart share their places in the caches. Where they are read often, a block is copied.
        self.apart = self.n_outputs > _APART_OUTPUTS and n_features * self.dtype.itemsize % 4096 == 0
        self.shape = _round_up(self.n_outputs, self.tile_classes), _round_up(n_features + self.apart, width)
        block = _BLOCK_BYTES // (n_features * self.dtype.itemsize)
        # the sums of a block are added to the totals: with many classes only many rows are worth that
        block = min(max(block, 256 if self.n_outputs > _MANY_OUTPUTS else 48), 512)
        self.block_rows = _round_up(min(1024 if self.n_outputs > 512 else block, self.slice_rows), 16)
        self.flops_per_row = 4 * self.shape[0] * max(n_features, 8)
        self.coef = aligned_zeros(self.shape, self.dtype)
        self.intercept = np.zeros(self.shape[0], self.dtype)
        self.tiles = np.arange(0, self.shape[0], self.tile_classes)
        self.tiling = self.tile_classes, len(self.tiles) > 1
        self.workspaces = {}
        self.partial = self.total = None

    def _groups(self, max_groups):
        """First rows of the groups of a slice, and the end."""
        n_groups = min(int(self.slice_rows * self.flops_per_row / _GROUP_FLOPS), max_groups)
        n_groups = max(min(n_groups, max(self.slice_rows // _GROUP_ROWS, 4)), 1)
        size = _round_up(-(-self.slice_rows // n_groups), min(self.block_rows, 128))  # as long as each other
        return [*range(0, self.slice_rows, size), self.slice_rows]

    def _workspace(self, slot, width):
        """Rows of some width, scores and row values of one thread."""
        if (slot, width) not in self.workspaces:
            rows = aligned_zeros((self.block_rows if width else 0, width), self.dtype)
            scores = aligned_empty((self.shape[0], self.block_rows), self.dtype)
            self.workspaces[slot, width] = rows, scores, aligned_empty((5, self.block_rows), self.dtype)
        return self.workspaces[slot, width]

    def _run(self, kernel_of, parts, max_groups, task):
        """Call ``task(kernel, X, place, g, start, stop, fresh, workspace)`` for the rows of all groups.

        X begins at ``place`` among all rows; its rows start:stop are in group g, the first of it where ``fresh``.
        """
        bounds = self._groups(max_groups)
        rows_per_call = max(int(_CALL_FLOPS / self.flops_per_row) // self.block_rows, 1) * self.block_rows
        for X, rows in parts:
            self._run_part(kernel_of, X, rows.start, bounds, rows_per_call, task)
        return len(bounds) - 1

    def _run_part(self, kernel_of, X, place, bounds, rows_per_call, task):
        """As :meth:`_run`, for one or more whole slices."""
        n_rows = len(X)
        if not (X.dtype == self.dtype and X.flags.c_contiguous):
            width, (X, locate) = self.n_features, readable(X)
        else:
            askew = (X.ctypes.data | X.strides[0]) % VECTOR_BYTES
            copied = self.apart or (askew and self.n_outputs > _SOME_OUTPUTS)
            width, locate = (self.shape[1], _copied) if copied else (0, _in_place)
            X = X.view()
            X.flags.writeable = False  # writeable or not, one compiled kernel
        kernel = kernel_of(locate)
        n_threads = min(self.n_threads, len(bounds) - 1)
        for slot in range(n_threads):
            self._workspace(slot, width)

        def group(g, slot):
            fresh = place == 0
            for first in range(0, n_rows, self.slice_rows):
                stop = min(first + bounds[g + 1], n_rows)
                for start in range(first + bounds[g], stop, rows_per_call):
                    end = min(start + rows_per_call, stop)
                    task(kernel, X, place, g, start, end, fresh, self.workspaces[slot, width])
                    fresh = False

        run_tasks(group, len(bounds) - 1, n_threads)

    def _set_point(self, coef, intercept):
        with np.errstate(over="ignore"):  # of a trial that float32 cannot hold the loss is no number, and not accepted
            self.coef[: self.n_outputs, : self.n_features] = coef
            self.intercept[: self.n_outputs] = intercept

    def loss_gradient(self, parts, coef, intercept, y, weight, weighting, offset=None):
        """Weighted cross-entropy and its gradient, summed over the rows.

        Parameters
        ----------
        parts : iterable of (array (n_rows, n_features), slice)
            All rows in order, one or more whole slices at a time, and their places among the n_samples.
        coef : array (n_outputs, n_features), intercept : array (n_outputs,) or 0
        y : array (n_samples,) intp, or (n_samples, n_scores) of dtype
            Labels, in range(n_scores), or 0 and 1 where n_scores is 1; or target probabilities, those of class 1 where
            n_scores is 1. They are not checked here.
        weight : array (n_weightings, n_samples) of dtype, or (0, 0) for none
        weighting : array (n_problems,) intp
        offset : array (n_samples, n_scores) of dtype, or None
            Added to the scores of every problem.

        Returns
        -------
        loss (n_problems,), grad (n_outputs, n_features), grad_intercept (n_outputs,) : float64
            ``grad`` is valid until the next call.
        """
        block_loss = BLOCK_LOSS[self.n_scores == 1, y.ndim]
        return self._sum_blocks(block_loss, parts, coef, intercept, y, weight, weighting, offset)

    def hessian_product(self, parts, coef, intercept, state, weight, weighting, offset=None):
        """Products of the Hessians of the loss and the directions, and the curvatures along these.

        Parameters
        ----------
        coef, intercept : as in :meth:`loss_gradient`, of the directions
        state : array (n_weightings, n_scores, n_samples) of dtype
            The rows at the points, as :meth:`row_state` writes them.
        parts, weight, weighting : as in :meth:`loss_gradient`
        offset : array (n_samples, n_scores) of dtype, or None
            Added to the scores of every direction.

        Returns
        -------
        curvature (n_problems,), product (n_outputs, n_features), product_intercept (n_outputs,) : float64
            ``product`` is valid until the next call.
        """
        block_curvature = BLOCK_CURVATURE[self.n_scores == 1]
        return self._sum_blocks(block_curvature, parts, coef, intercept, state, weight, weighting, offset)

    def loss_gradient_of_scores(self, parts, stored, y, weight, weighting):
        """As :meth:`loss_gradient`, of scores that are known: half a pass.

        Parameters
        ----------
        stored : array (n_weightings, n_scores, n_samples) of dtype
            Raw scores, with intercepts and offsets, as :meth:`raw_scores` writes them.
        parts, y, weight, weighting : as there
        """
        block_loss = BLOCK_LOSS[self.n_scores == 1, y.ndim]
        return self._sum_blocks(block_loss, parts, 0.0, 0.0, y, weight, weighting, None, stored)

    def label_set_gradient(self, parts, coef, intercept, label_sets, weighting):
        """Losses of problems that have labels of their own, and their gradients.

        Parameters
        ----------
        parts, coef, intercept : as in :meth:`loss_gradient`
        label_sets : tuple
            What :func:`.label_sets.label_set_losses` takes as ``y``.
        weighting : array (n_problems,) intp
            Row of the labels that each problem uses.

        Returns
        -------
        sums (n_problems, N_SUMS), grad (n_outputs, n_features), grad_intercept (n_outputs,) : float64
            ``grad`` is valid until the next call.
        """
        labels, row_weight, class_weight, firsts = label_sets
        known = labels, *optional((row_weight, 2), (class_weight, 1), dtype=self.dtype), firsts
        options = None, None, N_SUMS * len(weighting)
        sums, *grads = self._sum_blocks(label_set_losses, parts, coef, intercept, known, (), weighting, *options)
        return sums.reshape(-1, N_SUMS), *grads

    def _sum_blocks(
        self, block_loss, parts, coef, intercept, known, weight, weighting, offset, stored=None, n_sums=None
    ):
        """Losses and gradients, or what ``block_loss`` has in their place, summed over the rows."""
        self._set_point(coef, intercept)
        offset, weight, stored = optional((offset, 2), (weight, 2), (stored, 3), dtype=self.dtype)
        partial = self._partial()
        loss = np.empty((len(partial), n_sums or self.n_problems))
        grad_intercept = np.empty((len(partial), self.shape[0]))
        tiles = np.tile(self.tiles, (len(partial), 1))

        def task(kernel, X, place, g, start, stop, fresh, workspace):
            kernel(
                X, place, start, stop, self.coef, self.intercept, known, offset, weight, weighting, stored,
                self.n_scores, fresh, *workspace, tiles[g], loss[g], partial[g], grad_intercept[g],
            )  # fmt: skip

        self._run(lambda locate: _loss_gradient_kernel(*self.tiling, locate, block_loss), parts, len(partial), task)
        return loss.sum(axis=0), self._sum_groups(partial), grad_intercept[:, : self.n_outputs].sum(axis=0)

    def gram_product(self, X, coef):
        """``coef @ X.T @ X``, each row of X read once.

        Parameters
        ----------
        X : array (slice_rows, n_features) of dtype, C-contiguous
        coef : array (n_outputs, n_features)

        Returns
        -------
        array (n_outputs, n_features) float64
            Valid until the next call.
        """
        self._set_point(coef, 0.0)
        partial = self._partial()

        def task(kernel, X, place, g, start, stop, fresh, workspace):
            kernel(X, start, stop, self.coef, fresh, workspace[1], self.tiles, partial[g])

        whole = [(X, slice(0, len(X)))]
        self._run(lambda locate: _gram_product_kernel(*self.tiling), whole, len(partial), task)
        return self._sum_groups(partial)

    def _partial(self):
        """Sums of the groups, (n_groups, n_padded_classes, n_padded_features), made once."""
        if self.partial is None:
            size = 8 * self.shape[0] * self.shape[1]
            # they take at most an eighth of a slice, or 16 MB where that is more; but four keep two threads in step
            most = max(self.slice_rows * self.n_features * self.dtype.itemsize // 8, 1 << 24) // size
            n_groups = len(self._groups(min(max(most, 4), _MAX_GROUPS))) - 1
            self.partial, self.total = aligned_empty((n_groups, *self.shape), np.float64), np.empty(self.shape)
        return self.partial

    def _sum_groups(self, partial):
        """Sum over the groups, in order, without the padding."""
        if len(partial) == 1:
            return partial[0, : self.n_outputs, : self.n_features]
        flat, total = partial.reshape(len(partial), -1), self.total.reshape(-1)
        piece = (1 << 17) // len(partial)  # some 50 us of work
        run_tasks(
            lambda q, slot: _add_groups(flat, q * piece, min((q + 1) * piece, len(total)), total),
            -(-len(total) // piece),
            self.n_threads,
        )
        return self.total[: self.n_outputs, : self.n_features]

    def moments(self, parts, shift, weight):
        """Weighted sums of ``x - shift`` and of its square over the rows.

        Parameters
        ----------
        parts : iterable of (array (n_rows, n_features), slice)
        shift : array (n_features,) float64
        weight : array (n_samples,) float64, or None

        Returns
        -------
        two arrays (n_features,) float64
        """
        weight = np.empty(0) if weight is None else weight
        partial = np.empty((_MAX_GROUPS, 2, self.n_features))

        def task(kernel, X, place, g, start, stop, fresh, workspace):
            rows = workspace[0] if len(workspace[0]) else np.empty((self.block_rows, 0), self.dtype)
            kernel(X, place, start, stop, shift, weight, fresh, rows, *partial[g])

        n_groups = self._run(_moments_kernel, parts, _MAX_GROUPS, task)
        return tuple(partial[:n_groups].sum(axis=0))

    def predict(self, parts, coef, intercept, kind, out, offset=None):
        """Raw predictions, probabilities or log-probabilities (``kind``) of the rows, for one problem.

        Parameters
        ----------
        parts : iterable of (array (n_rows, n_features), slice)
        coef : array (n_scores, n_features), intercept : array (n_scores,) or 0
        kind : RAW, PROBA or LOG_PROBA
        out : array (n_samples, n_scores) of dtype
            Written to.
        offset : array (n_samples, n_scores) of dtype, or None
        """
        self._write_blocks(predictions, parts, coef, intercept, kind, out, offset)

    def row_state(self, parts, coef, intercept, weighting, out, offset=None):
        """What :meth:`hessian_product` needs of the rows at points: probabilities, or the one score of two classes.

        Parameters
        ----------
        parts, coef, intercept, offset : as in :meth:`loss_gradient`
        weighting : array (n_problems,) intp
        out : array (n_weightings, n_scores, n_samples) of dtype
            Written to, ``out[weighting[m]]`` for each problem m.
        """
        self._write_blocks(row_states, parts, coef, intercept, weighting, out, offset)

    def raw_scores(self, parts, coef, intercept, weighting, out, offset=None):
        """Scores of points, with intercepts and offsets, by class; parameters as :meth:`row_state`."""
        self._write_blocks(raw_scores, parts, coef, intercept, weighting, out, offset)

    def _write_blocks(self, write, parts, coef, intercept, kind, out, offset):
        self._set_point(coef, intercept)
        (offset,) = optional((offset, 2), dtype=self.dtype)

        def task(kernel, X, place, g, start, stop, fresh, workspace):
            kernel(X, place, start, stop, self.coef, self.intercept, offset, kind, *workspace, self.tiles, out)

        def kernel_of(locate):
            if locate is _copied and self.n_outputs <= _SOME_OUTPUTS:  # without a gradient rows are not read again
                locate = _in_place
            return _predict_kernel(*self.tiling, locate, write)

        self._run(kernel_of, parts, _MAX_GROUPS, task)
