"""Functions of numbers that kernels call, made of a few instructions each.

Exponential and logarithm are written out because ``math.exp`` stays scalar in Numba (4 ns an element, a quarter of a
pass over narrow data), and traced because Numba would take a quarter of a second to compile them, most of it to find
types that are plain to see.
"""

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_process_triple
from numba import types
from numba.core import cgutils

from .jit import intrinsic, processor_features

# What a polynomial may be rearranged by: a fused multiply-add, nothing else ("reassoc" ruins it).
EXACT = {"contract"}
# Whether that is one instruction, of one rounding. All of 64-bit ARM have it, though some systems do not tell LLVM.
IS_FUSED = "fma" in processor_features() or get_process_triple().startswith(("aarch64", "arm64"))
#: exponents for which the exponential of lower ones is taken
LOWEST_FLOAT64, LOWEST_FLOAT32 = -700.0, -80.0


@intrinsic(min)
def smaller(typingctx, a, b):
    """The smaller of two integers; numba compiles ``min`` by itself for each kind of them."""

    def codegen(context, builder, signature, args):
        return builder.select(builder.icmp_signed("<", *args), *args)

    return types.intp(types.intp, types.intp), codegen


def _plain_clear(array):
    array[...] = 0


@intrinsic(_plain_clear)
def clear(typingctx, array):
    """Let a C-contiguous array be zero."""
    if array.layout != "C":
        return None

    def codegen(context, builder, signature, args):
        there = context.make_array(array)(context, builder, args[0])
        n_bytes = builder.mul(there.nitems, ir.Constant(there.nitems.type, array.dtype.bitwidth // 8))
        cgutils.memset(builder, there.data, n_bytes, 0)
        return context.get_dummy_value()

    return types.void(array), codegen


def traced(function):
    """Let kernels call a function of one float, of straight code that returns such a float.

    Where a kernel is compiled the function runs with a symbol in place of the number, and each operation emits its
    instruction. What is no operator is one of the functions below.
    """

    @intrinsic(function)
    def emit(typingctx, x):
        def codegen(context, builder, signature, args):
            return function(Symbol(builder, args[0])).value

        return x(x), codegen

    return emit


class Symbol:
    """A float of 4 or 8 bytes, or an integer of its size, of a kernel that is being compiled."""

    def __init__(self, builder, value):
        self.builder, self.value = builder, value
        self.is_float = isinstance(value.type, ir.FloatType | ir.DoubleType)
        self.itemsize = 4 if value.type in (ir.FloatType(), ir.IntType(32)) else 8

    def operand(self, number):
        return number.value if isinstance(number, Symbol) else ir.Constant(self.value.type, number)

    def emit(self, name, a, b):
        if self.is_float:
            return Symbol(self.builder, getattr(self.builder, "f" + name)(a, b, flags=sorted(EXACT)))
        return Symbol(self.builder, getattr(self.builder, name)(a, b))

    def compare(self, operator, other):
        compare = self.builder.fcmp_ordered if self.is_float else self.builder.icmp_signed
        return Symbol(self.builder, compare(operator, self.value, self.operand(other)))

    def __add__(self, other):
        return self.emit("add", self.value, self.operand(other))

    def __sub__(self, other):
        return self.emit("sub", self.value, self.operand(other))

    def __mul__(self, other):
        return self.emit("mul", self.value, self.operand(other))

    def __rmul__(self, other):
        return self.emit("mul", self.operand(other), self.value)

    def __truediv__(self, other):
        return self.emit("div", self.value, self.operand(other))

    def __lshift__(self, n_bits):
        return self.emit("shl", self.value, self.operand(n_bits))

    def __rshift__(self, n_bits):
        return self.emit("ashr", self.value, self.operand(n_bits))

    def __and__(self, other):
        return self.emit("and_", self.value, self.operand(other))

    def __or__(self, other):
        return self.emit("or_", self.value, self.operand(other))

    def __lt__(self, other):
        return self.compare("<", other)

    def __gt__(self, other):
        return self.compare(">", other)

    def __eq__(self, other):
        return self.compare("==", other)

    __hash__ = None  # type: ignore[assignment]


def select(condition, a, b):
    """``a if condition else b``; not both are plain numbers."""
    if not isinstance(condition, Symbol):
        return a if condition else b
    symbol = a if isinstance(a, Symbol) else b
    return Symbol(symbol.builder, symbol.builder.select(condition.value, symbol.operand(a), symbol.operand(b)))


def _cast(x, name, dtypes):
    """A symbol by an instruction, another number by a function of numpy, as one of the dtypes, of 4 or 8 bytes."""
    dtype = np.dtype(dtypes[x.itemsize == 8])
    if not isinstance(x, Symbol):
        return x.view(dtype) if name == "bitcast" else dtype.type(x)
    types = {"i4": ir.IntType(32), "i8": ir.IntType(64), "f4": ir.FloatType(), "f8": ir.DoubleType()}
    return Symbol(x.builder, getattr(x.builder, name)(x.value, types[dtype.str[1:]]))


def to_bits(x):
    """The bits of a float, as an integer."""
    return _cast(x, "bitcast", ("i4", "i8"))


def of_bits(bits):
    """The float of these bits."""
    return _cast(bits, "bitcast", ("f4", "f8"))


def to_float(n):
    """An integer as a float."""
    return _cast(n, "sitofp", ("f4", "f8"))


def _one_plus(s, r):
    """1 + r + s r^2 for small r, with as few roundings of what is next to one as there can be.

    Where products and sums are one instruction, that is Horner's scheme: one rounding, and that of 1 + s r times r. As
    two they would round r + s r^2 twice, and then its sum with one.
    """
    one = 1.0 if isinstance(r, Symbol) else r.dtype.type(1)
    if IS_FUSED:
        return (s * r + one) * r + one
    return ((s * r) * r + r) + one


def _exp_float64(x):
    """exp(x) for x <= 0 to 1 ulp; below -700, exp(-700) (1e-304) instead of zero.

    That is far enough above the least normal number (2e-308) for what becomes of it, probabilities times weights: with
    numbers below that, operations take a hundred times as long.

    Cody and Waite's reduction by a two-part ln 2, then the Taylor polynomial of degree 13 on
    [-ln2/2, ln2/2] (W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980, ch. 6).
    """
    x = select(x < LOWEST_FLOAT64, LOWEST_FLOAT64, x)  # written so that NaN stays NaN
    shifted = x * 1.4426950408889634 + 6755399441055744.0  # adding 1.5 * 2^52 rounds to an integer ...
    n = shifted - 6755399441055744.0
    r = x - n * 6.93147180369123816490e-01
    r = r - n * 1.90821492927058770002e-10
    s = 1.6059043836821613e-10
    s = s * r + 2.08767569878681e-09
    s = s * r + 2.505210838544172e-08
    s = s * r + 2.755731922398589e-07
    s = s * r + 2.7557319223985893e-06
    s = s * r + 2.48015873015873e-05
    s = s * r + 1.984126984126984e-04
    s = s * r + 1.388888888888889e-03
    s = s * r + 8.333333333333333e-03
    s = s * r + 4.1666666666666664e-02
    s = s * r + 1.6666666666666666e-01
    s = s * r + 0.5
    two_to_n = (to_bits(shifted) + 1023) << 52  # ... and leaves it in the low bits
    return _one_plus(s, r) * of_bits(two_to_n)


def _exp_float32(x):
    """exp(x) for x <= 0 to 1 ulp in float32; below -80, exp(-80) (2e-35). As :func:`_exp_float64`."""
    x = select(x < np.float32(LOWEST_FLOAT32), np.float32(LOWEST_FLOAT32), x)
    shifted = x * np.float32(1.44269504) + np.float32(12582912.0)
    n = shifted - np.float32(12582912.0)
    r = x - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    s = r * np.float32(1.9875691500e-4) + np.float32(1.3981999507e-3)
    s = s * r + np.float32(8.3334519073e-3)
    s = s * r + np.float32(4.1665795894e-2)
    s = s * r + np.float32(1.6666665459e-1)
    s = s * r + np.float32(5.0000001201e-1)
    two_to_n = (to_bits(shifted) + 127) << 23
    return _one_plus(s, r) * of_bits(two_to_n)


@traced
def exp(x):
    """exp(x), x <= 0, in the precision of x."""
    return _exp_float32(x) if x.itemsize == 4 else _exp_float64(x)


def _log(x):
    """log(x) for positive, normal x to 1 ulp, by the series of fdlibm's e_log.c (Sun Microsystems, 1993)."""
    bits = to_bits(x)
    exponent = (bits >> 52) - 1023
    m = of_bits((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    above = m > 1.4142135623730951
    m = select(above, m * 0.5, m)
    e = to_float(select(above, exponent + 1, exponent))
    f = m - 1.0
    s = f / (f + 2.0)
    z = s * s
    p = z * 1.479819860511658591e-01 + 1.531383769920937332e-01
    p = p * z + 1.818357216161805012e-01
    p = p * z + 2.222219843214978396e-01
    p = p * z + 2.857142874366239149e-01
    p = p * z + 3.999999999940941908e-01
    p = (p * z + 6.666666666666735130e-01) * z
    half_square = f * 0.5 * f
    tail = s * (half_square + p) + e * 1.90821492927058770002e-10
    return e * 6.93147180369123816490e-01 - ((half_square - tail) - f)


@traced
def log1p_float64(x):
    """log(1 + x) for x >= 0 to some ulp, from the logarithm of the rounded 1 + x.

    D. Goldberg, What every computer scientist should know about floating-point arithmetic, ACM Computing Surveys 23,
    1991, theorem 4.
    """
    above = x + 1.0
    return select(above == 1.0, x, _log(above) * (x / (above - 1.0)))


@traced
def log_float64(x):
    """As :func:`_log`."""
    return _log(x)
