"""Rows of any dtype and memory order, a block at a time, as C-contiguous rows of float32 or float64.

A pass works on a block while it lies in cache, so the block is all that is ever converted. What comes in is brought to
few types in Python (:func:`readable`), because each compiles a kernel of its own: an array of adjacent rows, one of
adjacent columns, transposed, or any other; float16, which Numba does not know, as the bits of it in uint16.
"""

import numpy as np
from llvmlite import ir
from numba import types

from .jit import intrinsic, jit_part, overload
from .tiles import VECTOR_BYTES, Lanes, data_and_stride, row_pointer

_INT = ir.IntType(64)


def readable(X):
    """X as the kernels take it, without a copy: the array, and the function that makes rows of it.

    Parameters
    ----------
    X : ndarray (n_samples, n_features)
        float32, float64, uint8, int8, int16 or float16, with any strides.

    Returns
    -------
    array : ndarray, read-only
        X, its transpose, or either with rows as long as they are apart: more of it is declared than is there, so only
        kernels may read it.
    locate : jitted function (array, row, n_rows, rows_out) -> rows_out, 0
        Writes X[row : row + n_rows] to ``rows_out[:n_rows]``, and says that there they are.
    """
    if X.dtype == np.float16:
        X = X.view(np.uint16)
    apart = [stride // X.itemsize if stride % X.itemsize == 0 else 0 for stride in X.strides]
    n_samples, n_features = X.shape
    if apart[1] == 1 and apart[0] >= n_features:
        shape, function = (n_samples, apart[0]), from_rows
    elif apart[0] == 1 and apart[1] >= n_samples:
        shape, function = (n_features, apart[1]), from_columns
    elif X.flags.c_contiguous:  # a single row or column may have any strides
        shape, function = X.shape, from_rows
    else:
        X = X.view()
        X.flags.writeable = False
        return X, from_anywhere
    strides = shape[1] * X.itemsize, X.itemsize
    return np.lib.stride_tricks.as_strided(X, shape, strides, writeable=False), function


def _value(x):
    """An element as a number: float16 is handed over as its bits."""
    return _half(x) if isinstance(x, np.uint16) else x  # kernels see the overload below


@overload(_value)
def _(x):
    if x == types.uint16:
        return lambda x: _half(x)
    return lambda x: x


@jit_part
def _half(bits):
    """The float16 of these bits, finite, as float32: exponent and fraction moved to their place, times 2^(127 - 15)."""
    magnitude = np.int32((np.int32(bits) & np.int32(0x7FFF)) << np.int32(13)).view(np.float32)
    sign = np.int32((np.int32(bits) & np.int32(0x8000)) << np.int32(16))
    return np.int32(np.float32(magnitude * np.float32(2.0**112)).view(np.int32) | sign).view(np.float32)


@jit_part
def from_rows(X, row, n_rows, rows_out):
    """Convert X[row:row + n_rows], X being C-contiguous with at least as many columns as ``rows_out``."""
    n_features = rows_out.shape[1]
    for i in range(n_rows):
        x, out = X[row + i], rows_out[i]
        for j in range(n_features):
            out[j] = _value(x[j])
    return rows_out, 0


@jit_part
def from_anywhere(X, row, n_rows, rows_out):
    """As :func:`from_rows` for an array of any strides."""
    # 16 x 16 squares: of columns as of rows, whole cache lines are read and written
    for j0 in range(0, X.shape[1], 16):
        for i in range(n_rows):
            for j in range(j0, min(j0 + 16, X.shape[1])):
                rows_out[i, j] = _value(X[row + i, j])
    return rows_out, 0


@jit_part
def from_columns(X, row, n_rows, rows_out):
    """As :func:`from_rows` for an array whose columns are the rows of X, C-contiguous with at least as many columns."""
    n_features, width = rows_out.shape[1], VECTOR_BYTES // rows_out.itemsize
    for j in range(0, n_features - width + 1, width):
        for i in range(0, n_rows - width + 1, width):
            _transpose_square(X, j, row + i, rows_out, i, n_rows)
        for i in range(n_rows - n_rows % width, n_rows):
            for c in range(j, j + width):
                rows_out[i, c] = _value(X[c, row + i])
    for j in range(n_features - n_features % width, n_features):
        for i in range(n_rows):
            rows_out[i, j] = _value(X[j, row + i])
    return rows_out, 0


def _plain_transpose_square(X, j, row, rows_out, i, ahead):
    w = VECTOR_BYTES // rows_out.itemsize
    square = X[j : j + w, row : row + w]
    rows_out[i : i + w, j : j + w] = (square.view(np.float16) if X.dtype == np.uint16 else square).T


@intrinsic(_plain_transpose_square)
def _transpose_square(typingctx, X, j, row, rows_out, i, ahead):
    """Write ``rows_out[i:i + w, j:j + w] = X[j:j + w, row:row + w].T``, w being the lanes of a vector of ``rows_out``.

    The vectors are interleaved in pairs, the first with the one half of the list further on; log2(w) times that is the
    transpose, w shuffles each time. What lies ``ahead`` rows further on is asked for meanwhile: columns are too many,
    and too far apart, for the processor to foresee.
    """

    def codegen(context, builder, signature, args):
        X_value, j, row, rows_value, i, ahead = args
        lanes = Lanes(builder, rows_out.dtype)
        w = lanes.width
        X_data, X_stride = data_and_stride(context, builder, X, X_value)
        rows_data, rows_stride = data_and_stride(context, builder, rows_out, rows_value)
        narrow = ir.VectorType(context.get_data_type(X.dtype), w)
        X_square = builder.gep(row_pointer(builder, X_data, X_stride, j), [row])
        vectors = []
        for c in range(w):
            column = row_pointer(builder, X_square, X_stride, _INT(c))
            lanes.prefetch(builder.gep(column, [ahead]), 1)
            address = builder.bitcast(column, narrow.as_pointer())
            vectors.append(_converted(builder, lanes, X.dtype, builder.load(address, align=X.dtype.bitwidth // 8)))
        low = [lane // 2 + w * (lane % 2) for lane in range(w)]
        high = [lane + w // 2 for lane in low]
        n_rounds = w.bit_length() - 1
        for _ in range(n_rounds):
            shuffled = []
            for q in range(w // 2):
                pair = vectors[q], vectors[q + w // 2]
                shuffled += [builder.shuffle_vector(*pair, lanes.selection(order)) for order in (low, high)]
            vectors = shuffled
        out = builder.gep(row_pointer(builder, rows_data, rows_stride, i), [j])
        for r in range(w):
            address = lanes.at(row_pointer(builder, out, rows_stride, _INT(r)), _INT(0))
            builder.store(vectors[r], address, align=lanes.itemsize)
        return context.get_dummy_value()

    return types.void(X, j, row, rows_out, i, ahead), codegen


def _converted(builder, lanes, dtype, vector):
    """A vector of elements of X as one of floats; see :func:`_half`."""
    if dtype in (types.float32, types.float64):
        return vector
    if dtype == types.uint16:
        wide = ir.VectorType(ir.IntType(32), lanes.width)
        bits = builder.zext(vector, wide)

        def constant(number):
            return ir.Constant(wide, [number] * lanes.width)

        magnitude = builder.shl(builder.and_(bits, constant(0x7FFF)), constant(13))
        sign = builder.shl(builder.and_(bits, constant(0x8000)), constant(16))
        scaled = builder.fmul(builder.bitcast(magnitude, lanes.type), ir.Constant(lanes.type, [2.0**112] * lanes.width))
        return builder.bitcast(builder.or_(builder.bitcast(scaled, wide), sign), lanes.type)
    return builder.sitofp(vector, lanes.type) if dtype.signed else builder.uitofp(vector, lanes.type)
