"""The one decorator for everything jitted, and an on-disk cache that never fails a call.

numba's own cache raises at import where no folder can be written, raises in every later run when a file of it is
damaged, and knows nothing of the decorator's options or of edits in another file (numba 0.68). Ours holds one file for
each compiled signature; whatever is wrong with that file, or with the folder, means a compilation and no more.
"""

import contextlib
import functools
import glob
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import types
import uuid
import warnings

import llvmlite
import numba
import numpy as np

# The private parts of numba that are relied upon; tests/test_jit.py names them. Without them: no cache.
try:
    from numba.core import config
    from numba.core.caching import NullCache
    from numba.core.compiler import CompileResult
    from numba.core.serialize import dumps
except Exception:
    NullCache = object  # type: ignore[assignment, misc]

_DEFAULTS = {"nogil": True, "error_model": "numpy", "boundscheck": False}
_KERNELS = os.path.dirname(os.path.abspath(__file__))
_DIGEST_SIZE = hashlib.sha256().digest_size
_SUFFIX = ".kernel"
# Settings of numba, from the user's environment variables, that change the machine code.
_SETTINGS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")
# What a kernel may take from a module or a closure as a constant.
_PLAIN = (bool, int, float, complex, str, bytes, tuple, type(None), np.generic)

_counts = {"loads": 0, "misses": 0, "faults": 0}
_last_fault = None


def jit(function=None, **options):
    """Compile a function with numba at its first call, to serial code that releases the GIL.

    Used as ``@jit`` or ``@jit(fastmath={"contract"}, inline="always")``. Compiled code is kept on disk, under a key of
    everything that it depends on; see `cache_state` for where.

    Parameters
    ----------
    function : function, default=None
        What to compile; None when the decorator is used with options.
    **options
        Options of `numba.njit`, beyond ``nogil=True, error_model="numpy", boundscheck=False``.

    Returns
    -------
    dispatcher : numba dispatcher
        The function itself under ``NUMBA_DISABLE_JIT=1``.
    """
    for name in ("parallel", "cache"):
        if options.get(name):
            raise ValueError(
                f"Expected a kernel without {name}=True, got it. Remedy: run blocks of rows with "
                "softmax_clf.kernels.threads.run_tasks, and leave the cache to softmax_clf.kernels.jit."
            )
    if function is None:
        return functools.partial(jit, **options)
    options = {**_DEFAULTS, **options}
    if function.__closure__:
        # numba names compiled functions by their qualified name and a count of this process. Functions of one name that
        # close over different values, one from the cache of another process, may agree in both: then the linker takes
        # one for the other, without a word.
        function.__qualname__ += "_" + _short(_describe(function))[:8]
    dispatcher = numba.njit(**options)(function)
    if dispatcher is not function:  # it is under NUMBA_DISABLE_JIT=1
        try:
            if NullCache is object or not hasattr(dispatcher, "_cache"):
                raise AttributeError(f"numba {numba.__version__} lacks what the kernel cache is made of")
            dispatcher._cache = _KernelCache(function, options)
        except Exception as error:
            _fault(error)
    return dispatcher


def jit_part(function=None, **options):
    """As `jit`, for what only kernels call: it has no entry from Python and compiles in two thirds of the time."""
    return jit(function, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True, **options)


def cache_state():
    """Describe the kernel cache, for a bug report.

    Returns
    -------
    state : dict
        `folder`, the first one where kernels can be kept, and whether there is one that is `writable`; the number of
        `files` and their `bytes`, in all folders that are read; `loads`, `misses` and `faults` of this process, and
        the `last_fault` as text (None: there was none).
    """
    folders = _folders(__file__)
    folder = next(filter(_is_writable, folders), None)
    sizes = []
    for kept in folders:
        for path in glob.glob(os.path.join(glob.escape(kept), "*" + _SUFFIX)):
            with contextlib.suppress(OSError):  # another process has just removed it
                sizes.append(os.path.getsize(path))
    return {
        "folder": folder or folders[0],
        "writable": folder is not None,
        "files": len(sizes),
        "bytes": sum(sizes),
        **_counts,
        "last_fault": _last_fault,
    }


class _KernelCache(NullCache):
    """The compiled signatures of one function, a file each: the checksum of a pickle, then the pickle.

    numba's dispatcher calls `load_overload` before it compiles and `save_overload` afterwards, with its compiler lock
    held. Neither ever raises.

    Parameters
    ----------
    function : function
        The Python function.
    options : dict
        The options it is compiled with.
    """

    def __init__(self, function, options):
        self.function, self.options = function, options

    @property
    def cache_path(self):
        return _folders(self.function.__code__.co_filename)[0]

    def load_overload(self, sig, target_context):
        try:
            target_context.refresh()  # registers the types and functions that the pickle speaks of
            paths = self._paths(sig, target_context.codegen())
        except Exception as error:
            _fault(error)
            paths = []
        for path in paths:
            try:
                payload = _read(path)
                if payload is not None:
                    overload = CompileResult._rebuild(target_context, *pickle.loads(payload))
                    _counts["loads"] += 1
                    return overload
            except Exception as error:
                _fault(error)
        _counts["misses"] += 1
        return None

    def save_overload(self, sig, data):
        try:
            paths = self._paths(sig, data.codegen)
            if not paths:
                return
            if data.library.has_dynamic_globals or data.lifted:
                raise ValueError(f"{self.function.__qualname__} refers to addresses of this process")
            payload = dumps(data._reduce())
            for path in paths:
                try:
                    _write(path, payload)
                    return
                except OSError as error:  # not ours, read-only, or full: try the next folder
                    refusal = error
            raise refusal
        except Exception as error:
            _fault(error)

    def _paths(self, sig, codegen):
        """Where the code for this signature may be: the key is in the name, so a stale file is never opened."""
        source = self.function.__code__.co_filename
        if not os.path.exists(source):  # made by exec or at a prompt
            return []
        # Not the qualified name: it may end in a hash, and then `_write` would not know what an edit supersedes.
        label = f"{os.path.splitext(os.path.basename(source))[0]}.{self.function.__name__}"
        label = "".join(c for c in label if c.isalnum() or c in "_.")[:100]
        # The magic tuple has the CPU's name and features, as NUMBA_CPU_NAME and NUMBA_CPU_FEATURES would have them.
        machine = (numba.__version__, llvmlite.__version__, np.__version__, sys.version, codegen.magic_tuple())
        settings = [str(getattr(config, name, None)) for name in _SETTINGS]
        sources = (_kernels_digest(), _file_digest(source))
        signature = (str(sig), _describe(self.options), _describe(self.function))
        name = "-".join([label, _short((machine, settings)), _short(sources), _short(signature)]) + _SUFFIX
        return [os.path.join(folder, name) for folder in _folders(source)]


def _short(key):
    return hashlib.sha256(repr(key).encode()).hexdigest()[:20]


# Once per process. A file edited after its import is hashed as edited; `_describe` sees that older code is running.
@functools.cache
def _file_digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


@functools.cache
def _kernels_digest():
    """Hash all kernels together: a kernel is compiled with what it calls, in whichever file that is."""
    paths = sorted(glob.glob(os.path.join(glob.escape(_KERNELS), "**", "*.py"), recursive=True))
    return [(os.path.relpath(path, _KERNELS), _file_digest(path)) for path in paths]


def _describe(value, seen=()):
    """Describe a value that is compiled into a kernel, in the same words in each process."""
    value = getattr(value, "_defn", value)  # an intrinsic
    options = getattr(value, "targetoptions", None)  # a dispatcher: pickled, it would differ in each process
    value = getattr(value, "py_func", value)
    if isinstance(value, types.FunctionType):
        if value in seen:  # recursion
            return value.__qualname__
        seen = (*seen, value)
        code = value.__code__
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        used = [value.__globals__.get(name) for name in code.co_names]
        used = [item for item in used if isinstance(item, (*_PLAIN, np.ndarray)) or hasattr(item, "py_func")]
        parts = [_describe(part, seen) for part in (options, cells, used, value.__defaults__)]
        return ("function", value.__module__, value.__qualname__, code.co_firstlineno, _describe(code), parts)
    if isinstance(value, types.CodeType):
        return ("code", value.co_code.hex(), value.co_names, value.co_varnames, _describe(value.co_consts))
    if isinstance(value, types.ModuleType):
        return ("module", value.__name__)
    if isinstance(value, (list, tuple)):
        return [_describe(item, seen) for item in value]
    if isinstance(value, dict):
        return sorted((name, _describe(item, seen)) for name, item in value.items())
    if isinstance(value, (set, frozenset)):
        return sorted(repr(item) for item in value)  # in an order of its own in each process
    if isinstance(value, (*_PLAIN, type, np.dtype, numba.types.Type)):
        return repr(value)
    return hashlib.sha256(dumps(value)).hexdigest()


def _folders(source):
    """List the folders for the kernels of a source file, best first."""
    package = os.path.dirname(os.path.abspath(source))
    label = _short(package)  # two installations do not share a folder, each would remove the other's files
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return [os.path.join(os.path.abspath(chosen), f"softmax_clf-{label}")]
    user = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(user):  # as the XDG specification wants
        user = os.path.join(os.path.expanduser("~"), ".cache")
    folders = [os.path.join(package, "__pycache__"), os.path.join(user, "softmax_clf", label)]
    return [folder for folder in folders if os.path.isabs(folder)]


def _is_trusted(status):
    """Tell whether only we, or who owns this source file and so runs code as us anyway, can have written it.

    A pickle runs what its writer wants, and the checksum is no signature.
    """
    if not hasattr(os, "geteuid"):  # Windows: no owners, folders of a user are private
        return True
    owners = (os.geteuid(), os.stat(__file__).st_uid)
    return status.st_uid in owners and not status.st_mode & stat.S_IWOTH


def _read(path):
    """Read what `_write` wrote, or return None where there is nothing that can be trusted."""
    try:
        with open(path, "rb") as file:
            if not (_is_trusted(os.stat(os.path.dirname(path))) and _is_trusted(os.fstat(file.fileno()))):
                return None
            digest, payload = file.read(_DIGEST_SIZE), file.read()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    if hashlib.sha256(payload).digest() != digest:  # looked at before anything is unpickled, let alone run
        raise ValueError(f"{path} is damaged")
    return payload


def _write(path, payload):
    """Write a file at once: another process sees all of it or nothing. Remove those that it supersedes."""
    folder, name = os.path.split(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    if not _is_trusted(os.stat(folder)):
        raise PermissionError(f"{folder} is owned or can be written by another user")
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(temporary, flags, 0o644), "wb") as file:
            file.write(hashlib.sha256(payload).digest() + payload)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    function_and_machine, sources, _ = name.rsplit("-", 2)
    for other in glob.glob(os.path.join(glob.escape(folder), f"{function_and_machine}-*")):
        if not os.path.basename(other).startswith(f"{function_and_machine}-{sources}-"):
            with contextlib.suppress(OSError):  # another process was first
                os.unlink(other)


def _is_writable(folder):
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return _is_trusted(os.stat(folder))
    except OSError:
        return False


def _fault(error):
    """Count a fault of the cache, and warn of the first one; the kernel is compiled as if there were no cache."""
    global _last_fault
    _counts["faults"] += 1
    first, _last_fault = _last_fault is None, f"{type(error).__name__}: {error}"
    if not first:
        return
    with contextlib.suppress(RuntimeWarning):  # warnings may be errors here, but a cache fails no call
        warnings.warn(
            f"Expected to keep compiled kernels on disk, got {_last_fault}. They are compiled anew, which takes "
            "seconds in each process. Remedy: set NUMBA_CACHE_DIR to a folder of your own that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )
