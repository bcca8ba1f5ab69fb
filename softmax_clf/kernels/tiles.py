"""Register tiles: the two inner loops of a pass, written as LLVM vector code.

Left to itself, LLVM's vectoriser decides which values of a loop stay in registers, and decides
otherwise for another shape or version. These intrinsics say it: an accumulator is an LLVM vector,
a tile is a list of them, and the loop carries the tile in registers from its first step to its last.

    score tile      tile[r][k] += X[row + r, j:j+w] * coef[k, j:j+w]            over features j
    gradient tile   tile[k][v] += pointwise[k, i] * X[row + i, j+v*w:j+(v+1)*w] over rows i

LLVM lowers the vectors to what the processor has, so the code runs everywhere; two numbers tune it
to this one, the bytes of a vector and the count of vector registers. A tile must leave registers
for what it is fed with, all of its shorter side and one of the longer: at most 24 accumulators of
32 registers, 12 of 16. It must have 8 to 10, or each waits for its own last sum.

Columns beyond the last whole vector are read through a mask; ``coef`` and the gradient are padded to
whole vectors and whole tiles by the caller, so that they need none. See docs/kernels.md.
"""

import math

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from .jit import intrinsic, processor_features


def _vector_registers():
    """Bytes of a vector and number of vector registers of the processor that numba compiles for."""
    features = processor_features()
    if "avx512vl" in features:
        return 64, 32
    if "avx2" in features:
        return 32, 16
    # all of this kind have NEON, though some systems do not tell LLVM of it
    is_arm64 = llvmlite.binding.get_process_triple().startswith(("aarch64", "arm64"))
    return 16, 32 if is_arm64 or "neon" in features else 16


VECTOR_BYTES, _N_REGISTERS = _vector_registers()
_ACCUMULATORS = _N_REGISTERS * 3 // 4
TILE_CLASSES = (5, 4, 3, 2, 1)  # classes of either tile, the best first; six are slower, all registers being taken

_LINE_BYTES = 64  # of a cache


def tile_rows(tile_classes):
    """Rows of a score tile: up to four, dividing the lanes of a vector of float64."""
    return _largest((4, 2, 1), tile_classes, VECTOR_BYTES // 8)


def tile_vectors(tile_classes):
    """Vectors of features of a gradient tile: powers of two, as lengths of rows often are multiples of one."""
    return _largest((8, 4, 2, 1), tile_classes, 8)


def _largest(sizes, tile_classes, limit):
    return next(size for size in sizes if size <= limit and size * tile_classes <= _ACCUMULATORS)


_INT = ir.IntType(64)
_INDEX = ir.IntType(32)  # LLVM's type for lanes, alignments and hints


def aligned_empty(shape, dtype):
    """An array that begins with a cache line: vectors that lie across two take twice as long to load."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + _LINE_BYTES, np.uint8)
    start = -buffer.ctypes.data % _LINE_BYTES
    return buffer[start : start + size].view(dtype).reshape(shape)


def aligned_zeros(shape, dtype):
    """As :func:`aligned_empty`, of zeros."""
    array = aligned_empty(shape, dtype)
    array[...] = 0
    return array


class Lanes:
    """One vector type and the instructions on it."""

    def __init__(self, builder, dtype):
        self.builder = builder
        self.itemsize = dtype.bitwidth // 8
        self.width = VECTOR_BYTES // self.itemsize
        self.scalar = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
        self.type = ir.VectorType(self.scalar, self.width)
        self.suffix = f"v{self.width}f{dtype.bitwidth}"
        self.zero = ir.Constant(self.type, None)

    def _call(self, name, result, args):
        signature = ir.FunctionType(result, [a.type for a in args])
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, args)

    def at(self, pointer, offset):
        """Address of the vector at ``pointer[offset]``."""
        return self.builder.bitcast(self.builder.gep(pointer, [offset]), self.type.as_pointer())

    def load(self, pointer, offset):
        return self.builder.load(self.at(pointer, offset), align=self.itemsize)

    def load_first(self, pointer, offset, n_lanes):
        """The first ``n_lanes`` lanes from memory, zero in the others; nothing beyond them is touched."""
        count = ir.VectorType(_INT, self.width)
        mask = self.builder.icmp_signed("<", ir.Constant(count, list(range(self.width))), self._splat(n_lanes, count))
        args = [self.at(pointer, offset), _INDEX(self.itemsize), mask, self.zero]
        return self._call(f"llvm.masked.load.{self.suffix}.p0", self.type, args)

    def _splat(self, scalar, vector_type):
        undefined = ir.Constant(vector_type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, _INDEX(0))
        return self.builder.shuffle_vector(first, undefined, self.selection([0] * vector_type.count))

    def splat(self, scalar):
        return self._splat(scalar, self.type)

    def fma(self, a, b, c):
        return self._call(f"llvm.fmuladd.{self.suffix}", self.type, [a, b, c])

    def part(self, pointer, count, n_bytes, n_parts):
        """Address of what lies an n-th of ``count`` times ``n_bytes`` beyond.

        In a loop over counts a division costs more than the address of what is fetched is worth.
        """
        start, n_parts = self.builder.bitcast(pointer, ir.IntType(8).as_pointer()), max(n_parts, 1)
        if n_bytes % n_parts == 0:
            return self.builder.gep(start, [self.builder.mul(count, _INT(n_bytes // n_parts))])
        return self.builder.gep(start, [self.builder.udiv(self.builder.mul(count, _INT(n_bytes)), _INT(n_parts))])

    def prefetch(self, pointer, n_bytes):
        """Fetch what is to be read soon, to the second level of cache: the first has no room to spare."""
        start = self.builder.bitcast(pointer, ir.IntType(8).as_pointer())
        for place in range(0, n_bytes, _LINE_BYTES):
            line = self.builder.gep(start, [_INT(place)])
            self._call("llvm.prefetch.p0", ir.VoidType(), [line, _INDEX(0), _INDEX(2), _INDEX(1)])

    @staticmethod
    def selection(lanes):
        """Numbers of lanes, as a shuffle takes them."""
        return ir.Constant(ir.VectorType(_INDEX, len(lanes)), lanes)

    def take(self, vector, lanes):
        return self.builder.shuffle_vector(vector, vector, self.selection(list(lanes)))

    def horizontal_sums(self, vectors):
        """Sum every vector over its lanes, all at once.

        Two vectors are folded into one that holds half-summed lanes of both, pair by pair, until every
        lane is the sum of one vector: 3 instructions a vector instead of about 9.

        Returns
        -------
        list of (LLVM vector, lane), one for each of ``vectors``
        """
        half = self.width // 2
        owners = [[i] for i in range(len(vectors))]  # whose sums a vector's groups of lanes hold, in order
        while half:
            folded, folded_owners = [], []
            for q in range(0, len(vectors), 2):
                partner = min(q + 1, len(vectors) - 1)
                low, high = [], []
                for source in (0, self.width):
                    for group in range(source, source + self.width, 2 * half):
                        low += range(group, group + half)
                        high += range(group + half, group + 2 * half)
                pair = (vectors[q], vectors[partner])
                first = self.builder.shuffle_vector(*pair, self.selection(low))
                second = self.builder.shuffle_vector(*pair, self.selection(high))
                folded.append(self.builder.fadd(first, second))
                folded_owners.append(owners[q] + owners[partner])
            vectors, owners, half = folded, folded_owners, half // 2
        found = {}
        for vector, owner in zip(vectors, owners, strict=True):
            for lane, i in enumerate(owner):
                found.setdefault(i, (vector, lane))
        return [found[i] for i in range(len(found))]


def data_and_stride(context, builder, array_type, value):
    """Data pointer of a 2-d array of contiguous rows, and values from one to the next, in a slice more than it has."""
    array = context.make_array(array_type)(context, builder, value)
    return array.data, builder.sdiv(builder.extract_value(array.strides, 0), _INT(array_type.dtype.bitwidth // 8))


def row_length(context, builder, array_type, value):
    """Columns of a 2-d array."""
    return builder.extract_value(context.make_array(array_type)(context, builder, value).shape, 1)


def row_pointer(builder, data, stride, row):
    """Pointer to a row of an array whose rows are ``stride`` values apart."""
    return builder.gep(data, [builder.mul(row, stride)])


def _tile(builder, lanes, n):
    """``n`` accumulators, zero. LLVM turns these stack slots into registers."""
    slots = [cgutils.alloca_once(builder, lanes.type) for _ in range(n)]
    for slot in slots:
        builder.store(lanes.zero, slot)
    return slots


def _accumulate(builder, lanes, slot, a, b):
    builder.store(lanes.fma(a, b, builder.load(slot)), slot)


def _plain_score_tile(X, row, n_rows, coef, k, scores_out, i, source, ahead, tile_rows, tile_classes, fetches):
    rows = row + np.minimum(np.arange(i, i + tile_rows), n_rows - 1)
    scores_out[k : k + tile_classes, i : i + tile_rows] = coef[k : k + tile_classes, : X.shape[1]] @ X[rows].T


@intrinsic(_plain_score_tile, prefer_literal=True)
def score_tile(typingctx, X, row, n_rows, coef, k, scores_out, i, source, ahead, tile_rows, tile_classes, fetches):
    """Scores of ``tile_rows`` rows for ``tile_classes`` classes.

    ``scores_out[k + c, i + r] = X[row + i + r] @ coef[k + c]``; rows from ``n_rows`` on repeat the last
    one, so that a short block needs no tile of its own.

    While the products run, memory is idle: rows further on are asked for, one page after the other, as some processors
    look up pages slowly.

    Parameters
    ----------
    X : (n_samples, n_features)                 # IN
    row, n_rows : intp                          # IN the block is X[row:row + n_rows]
    coef : (n_padded_classes, n_padded_features)  # IN zero in its padding
    k : intp                                    # IN first class
    scores_out : (n_padded_classes, n_padded_rows)  # OUT
    i : intp                                    # IN first row within the block
    source, ahead : (n_source, length), intp    # IN rows from source[ahead] on are asked for
    tile_rows, tile_classes : literal int       # IN
    fetches : literal int                       # IN 0: none; n: one n-th of the values that the tiles of a class read
    """
    literals = (tile_rows, tile_classes, fetches)
    if not all(isinstance(a, types.IntegerLiteral) for a in literals):
        return None
    R, K, n_parts = (a.literal_value for a in literals)
    source_bytes = source.dtype.bitwidth // 8

    def codegen(context, builder, signature, args):
        X_value, row, n_rows, coef_value, k, scores_value, i, source_value, ahead = args[:9]
        lanes = Lanes(builder, X.dtype)
        X_data, X_stride = data_and_stride(context, builder, X, X_value)
        n_features = row_length(context, builder, X, X_value)
        coef_data, coef_stride = data_and_stride(context, builder, coef, coef_value)
        scores_data, scores_stride = data_and_stride(context, builder, scores_out, scores_value)

        last = builder.sub(n_rows, _INT(1))
        X_rows = []
        for r in range(R):
            inside = builder.add(i, _INT(r))
            inside = builder.select(builder.icmp_signed("<", inside, n_rows), inside, last)
            X_rows.append(row_pointer(builder, X_data, X_stride, builder.add(row, inside)))
        coef_rows = [row_pointer(builder, coef_data, coef_stride, builder.add(k, _INT(c))) for c in range(K)]
        tile = _tile(builder, lanes, R * K)
        source_row = row_pointer(builder, *data_and_stride(context, builder, source, source_value), ahead)
        fetched = lanes.part(source_row, builder.mul(i, n_features), source_bytes, n_parts)

        def step(j, load_X):
            if n_parts:
                pointer = lanes.part(fetched, j, R * source_bytes, n_parts)
                lanes.prefetch(pointer, R * lanes.width * source_bytes // n_parts)
            if R <= K:
                x = [load_X(X_row, j) for X_row in X_rows]
                for c in range(K):
                    w = lanes.load(coef_rows[c], j)
                    for r in range(R):
                        _accumulate(builder, lanes, tile[c * R + r], x[r], w)
            else:
                w = [lanes.load(coef_row, j) for coef_row in coef_rows]
                for r in range(R):
                    x = load_X(X_rows[r], j)
                    for c in range(K):
                        _accumulate(builder, lanes, tile[c * R + r], x, w[c])

        remainder = builder.and_(n_features, _INT(lanes.width - 1))
        whole = builder.sub(n_features, remainder)
        with cgutils.for_range_slice(builder, _INT(0), whole, _INT(lanes.width), _INT) as (j, _):
            step(j, lanes.load)
        with builder.if_then(builder.icmp_signed(">", remainder, _INT(0))):
            step(whole, lambda pointer, j: lanes.load_first(pointer, j, remainder))

        sums = lanes.horizontal_sums([builder.load(slot) for slot in tile])
        for c in range(K):
            out = builder.gep(row_pointer(builder, scores_data, scores_stride, builder.add(k, _INT(c))), [i])
            vector, lane = sums[c * R]  # R divides the width: the rows of a class lie side by side
            together = lanes.take(vector, range(lane, lane + R))
            builder.store(together, builder.bitcast(out, together.type.as_pointer()), align=lanes.itemsize)
        return context.get_dummy_value()

    return types.void(X, row, n_rows, coef, k, scores_out, i, source, ahead, *literals), codegen


def _plain_gradient_tile(
    X, row, n_rows, j, pointwise, k, grad_out, source, ahead, tile_classes, tile_vectors, whole, fetches, by_row
):
    stop = j + tile_vectors * (VECTOR_BYTES // X.itemsize) if whole else X.shape[1]
    weights = pointwise.T if by_row else pointwise
    grad_out[k : k + tile_classes, j:stop] += weights[k : k + tile_classes, :n_rows] @ X[row : row + n_rows, j:stop]


@intrinsic(_plain_gradient_tile, prefer_literal=True)
def gradient_tile(
    typingctx,
    X,
    row,
    n_rows,
    j,
    pointwise,
    k,
    grad_out,
    source,
    ahead,
    tile_classes,
    tile_vectors,
    whole,
    fetches,
    by_row,
):
    """Add a block's gradient for ``tile_classes`` classes and ``tile_vectors`` vectors of features.

    ``grad_out[k + c, j + v] += sum_i pointwise[k + c, i] * X[row + i, j + v]``, summed in the precision of
    X and added in that of ``grad_out``. Rows further on are asked for as in :func:`score_tile`.

    Parameters
    ----------
    X : (n_samples, n_features)                 # IN
    row, n_rows : intp                          # IN the block is X[row:row + n_rows]
    j : intp                                    # IN first feature
    pointwise : (n_padded_classes, n_padded_rows), or the other way round  # IN
    k : intp                                    # IN first class
    grad_out : (n_padded_classes, n_padded_features)  # OUT
    source, ahead : (n_source, length), intp    # IN as in score_tile
    tile_classes, tile_vectors : literal int    # IN
    whole : literal bool                        # IN False: one vector that ends beyond the last feature
    fetches : literal int                       # IN as in score_tile
    by_row : literal bool                       # IN whether ``pointwise`` is (n_padded_rows, n_padded_classes)
    """
    literals = (tile_classes, tile_vectors, whole, fetches, by_row)
    if not all(isinstance(a, types.IntegerLiteral | types.BooleanLiteral) for a in literals):
        return None
    K, V, is_whole, n_parts, rows_first = (a.literal_value for a in literals)
    source_bytes = source.dtype.bitwidth // 8

    def codegen(context, builder, signature, args):
        X_value, row, n_rows, j, pointwise_value, k, grad_value, source_value, ahead = args[:9]
        lanes = Lanes(builder, X.dtype)
        X_data, X_stride = data_and_stride(context, builder, X, X_value)
        n_features = row_length(context, builder, X, X_value)
        pointwise_data, pointwise_stride = data_and_stride(context, builder, pointwise, pointwise_value)
        grad_data, grad_stride = data_and_stride(context, builder, grad_out, grad_value)
        X_block = builder.gep(row_pointer(builder, X_data, X_stride, row), [j])

        def pointwise_at(c, i):
            place = (i, builder.add(k, _INT(c))) if rows_first else (builder.add(k, _INT(c)), i)
            return builder.gep(row_pointer(builder, pointwise_data, pointwise_stride, place[0]), [place[1]])

        source_row = row_pointer(builder, *data_and_stride(context, builder, source, source_value), ahead)
        fetched = lanes.part(source_row, builder.mul(j, n_rows), source_bytes, n_parts)

        remainder = builder.sub(n_features, j)
        tile = _tile(builder, lanes, K * V)

        def load_X(X_row, v):
            if is_whole:
                return lanes.load(X_row, _INT(v * lanes.width))
            return lanes.load_first(X_row, _INT(0), remainder)

        def weight_of(c, i):
            return lanes.splat(builder.load(pointwise_at(c, i)))

        with cgutils.for_range(builder, n_rows, intp=_INT) as loop:
            X_row = row_pointer(builder, X_block, X_stride, loop.index)
            if n_parts:
                pointer = lanes.part(fetched, loop.index, V * lanes.width * source_bytes, n_parts)
                lanes.prefetch(pointer, V * lanes.width * source_bytes // n_parts)
            if V <= K:
                x = [load_X(X_row, v) for v in range(V)]
                for c in range(K):
                    weight = weight_of(c, loop.index)
                    for v in range(V):
                        _accumulate(builder, lanes, tile[c * V + v], x[v], weight)
            else:
                weight = [weight_of(c, loop.index) for c in range(K)]
                for v in range(V):
                    x = load_X(X_row, v)
                    for c in range(K):
                        _accumulate(builder, lanes, tile[c * V + v], x, weight[c])

        total = Lanes(builder, grad_out.dtype)
        total.type = ir.VectorType(total.scalar, lanes.width)  # as many lanes, each as wide as it must be
        for c in range(K):
            grad_row = builder.gep(row_pointer(builder, grad_data, grad_stride, builder.add(k, _INT(c))), [j])
            for v in range(V):
                offset = _INT(v * lanes.width)
                added = builder.load(tile[c * V + v])
                if total.scalar != lanes.scalar:
                    added = builder.fpext(added, total.type)
                summed = builder.fadd(total.load(grad_row, offset), added)
                builder.store(summed, total.at(grad_row, offset), align=total.itemsize)
        return context.get_dummy_value()

    signature = types.void(X, row, n_rows, j, pointwise, k, grad_out, source, ahead, *literals)
    return signature, codegen
