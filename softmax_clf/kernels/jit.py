"""The one decorator for everything jitted, and an on-disk cache that never fails a call.

numba's own cache raises at import where no folder can be written, raises in every later run when a file of it is
damaged, and knows nothing of the decorator's options or of edits in another file (numba 0.68). Ours holds one file for
each compiled signature; whatever is wrong with that file, or with the folder, means a compilation and no more.

The name of a file is the hash of all that is compiled in, as it is in memory: code, and the values, helpers, classes
and intrinsics that this reaches (`_reached`). Source files do not tell: they may have been replaced since they were
imported, and a package in a zip, in a frozen application or of .pyc files alone has none.

Files lie in ``numba.config.CACHE_DIR``, which is NUMBA_CACHE_DIR where nobody sets it in code. Without one they lie in
the __pycache__ of the package; where that cannot be written, or by others too, in the user's cache folder.

What was measured of numba's own cache: docs/traps.md.
"""

import contextlib
import dis
import enum
import errno
import functools
import gc
import glob
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import threading
import time
import types
import uuid
import warnings

import llvmlite
import llvmlite.binding
import llvmlite.binding.ffi
import numba
import numba.core.compiler_lock
import numba.extending
import numpy as np
from llvmlite import ir

# The private parts of numba that are relied upon; tests/test_jit.py names them. Without them: no cache.
try:
    from numba.core.caching import NullCache
    from numba.core.compiler import CompileResult
    from numba.core.registry import cpu_target
    from numba.core.serialize import dumps
except (ImportError, AttributeError):
    NullCache = object  # type: ignore[assignment, misc]
# And those that let what only kernels call be compiled as a part of them alone. Without them: by itself, too.
try:
    from numba import _dynfunc  # type: ignore[attr-defined]
    from numba.core.codegen import JITCodeLibrary
    from numba.core.compiler import CompilerBase, DefaultPassBuilder, _LowerResult
    from numba.core.compiler_machinery import register_pass
    from numba.core.typed_passes import NativeLowering
except (ImportError, AttributeError):
    CompilerBase = None  # type: ignore[assignment, misc]

# Kernels allocate nothing, nor does numba for them ("_nrt"), as it would for ``a[:] = b``: no references are counted.
# No other compiled code calls them by an address.
_DEFAULTS = {"nogil": True, "error_model": "numpy", "boundscheck": False, "_nrt": False, "no_cfunc_wrapper": True}
_DIGEST_SIZE = hashlib.sha256().digest_size
_SUFFIX, _TEMPORARY = ".kernel", ".tmp"
# Settings of numba, from the user's environment variables or code, that change the machine code.
_SETTINGS = (
    "OPT",
    "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT",
    "EXTEND_VARIABLE_LIFETIMES",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "LLVM_REFPRUNE_PASS",
    "LLVM_REFPRUNE_FLAGS",
    "DISABLE_INTEL_SVML",
    "USING_SVML",
)
# What a kernel may take from a module or a closure as a constant, and what its name or text describes.
_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), np.generic)
_NAMED = (np.ufunc, types.BuiltinFunctionType)
_TEXTS = (np.dtype, numba.types.Type, ir.Type)
# Modules whose code the versions in the key speak for.
_KNOWN = sys.stdlib_module_names | {"numba", "llvmlite", "numpy"}
# Members of a class that differ where its code does not.
_INCIDENTAL = {"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__", "__static_attributes__"}

_counts = {"loads": 0, "misses": 0, "faults": 0}
_last_fault = None
_compiled_as: dict = {}  # functions and classes, as they were when first something that reaches them was compiled


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
        Under ``NUMBA_DISABLE_JIT=1`` a function, which computes the same in plain Python.
    """
    for name in ("parallel", "cache"):
        if options.get(name):
            raise ValueError(
                f"Expected a kernel without {name}=True, got it. Remedy: run blocks of rows with "
                "softmax_clf.kernels.threads.run_tasks, and leave the cache to softmax_clf.kernels.jit."
            )
    if function is None:
        return functools.partial(jit, **options)
    options, is_part = {**_DEFAULTS, **options}, options.get("no_cpython_wrapper")
    if numba.config.DISABLE_JIT:
        return function if is_part else _silent(function)
    cache = None
    try:
        if NullCache is object:
            raise _Fault(f"numba {numba.__version__} lacks what the kernel cache is made of", _OTHER_NUMBA)
        # numba names compiled functions by their qualified name and a count of this process. Functions of one name that
        # differ otherwise, one from the cache of another process, may agree in both: then the linker takes one for the
        # other, without a word.
        function.__qualname__ += "_" + _short(_own_words(function))[:8]
        if CompilerBase is None or not is_part:
            cache = _KernelCache(function, options)
    except Exception as error:
        _fault(error)
    compiler = {}
    if CompilerBase is not None:
        compiler["pipeline_class"] = _PartCompiler if is_part else _KernelCompiler
    dispatcher = numba.njit(**options, **compiler)(function)
    if cache is not None:
        dispatcher._cache = cache
    return dispatcher


def jit_part(function=None, **options):
    """As `jit`, for what only kernels call: it has no entry from Python, and is optimised as a part of them alone.

    Then LLVM chooses what to inline, and does well: what is large, such as a loop of a loss, is as fast or faster by
    itself. Without numba's means for that all is inlined.
    """
    return jit(function, no_cpython_wrapper=True, forceinline=CompilerBase is None, **options)


def intrinsic(plain, prefer_literal=False):
    """As `numba.extending.intrinsic`, for a function that tells what instructions to emit.

    Parameters
    ----------
    plain : function
        What the instructions do, in Python and numpy: under ``NUMBA_DISABLE_JIT=1`` it is called in their place.
    prefer_literal : bool, default=False
        Whether numbers that are known when it is compiled come as types of their own.
    """

    def decorate(function):
        if numba.config.DISABLE_JIT:
            return plain
        emitted = numba.extending.intrinsic(prefer_literal=prefer_literal)(function)
        emitted.plain = plain
        return emitted

    return decorate


def overload(function):
    """As `numba.extending.overload`, inlined, for a function that chooses by types what kernels see in its place.

    ``function`` itself does the same in plain Python.
    """

    def decorate(choose):
        function.overloaded = choose  # so that the key of a kernel has it
        return numba.extending.overload(function, inline="always")(choose)

    return decorate


def processor_features():
    """Tell what numba compiles for: names of features as LLVM has them, ``NUMBA_CPU_FEATURES`` where it is set."""
    try:
        features = cpu_target.target_context.codegen().magic_tuple()[2]
    except (NameError, AttributeError):  # another numba
        try:
            features = llvmlite.binding.get_host_cpu_features().flatten()
        except RuntimeError:  # LLVM cannot ask every platform: take what all have
            features = ""
    return {feature[1:] for feature in features.split(",") if feature.startswith("+")}


def cache_state():
    """Describe the kernel cache, for a bug report.

    Returns
    -------
    state : dict
        `folder`, the first one where kernels can be kept, and whether there is one that is `writable`; the number of
        `files` and their `bytes`, in all folders that are read; `loads`, `misses` and `faults` of this process, and
        the `last_fault` as text (None: there was none).
    """
    folders = _folders(_place(globals()))
    folder = next(filter(_is_writable, folders), None)
    sizes = []
    for kept in folders:
        for path in glob.glob(os.path.join(glob.escape(kept), "*" + _SUFFIX)):
            with _past_system_errors():
                sizes.append(os.path.getsize(path))
    return {
        "folder": folder or folders[0],
        "writable": folder is not None,
        "files": len(sizes),
        "bytes": sum(sizes),
        **_counts,
        "last_fault": _last_fault,
    }


def _silent(function):
    """A kernel in plain Python: as compiled, it does not tell of infinities."""

    @functools.wraps(function)
    def silent(*args):
        with np.errstate(all="ignore"):
            return function(*args)

    return silent


# ---------------------------------------------------------------------------------------------------------------------
# Compilation

_COMPILED_BY: tuple = ()  # what of ours the machine code depends on

if CompilerBase is not None:

    class _PartLibrary(JITCodeLibrary):
        """Code that kernels link: numba would optimise it, and make machine code of it that nobody runs."""

        def finalize(self):
            self._raise_if_finalized()
            for library in dict.fromkeys(self._linking_libraries):
                if hasattr(self, "_reload_init"):  # since numba 0.61
                    self._reload_init.update(library._reload_init)
                self._final_module.link_in(library._get_module_for_linking(), preserve=True)
            self._finalized = True

    class _KernelLibrary(JITCodeLibrary):
        """Code of a kernel, which keeps to itself those of its parts that LLVM has not inlined."""

        def _optimize_final_module(self):
            JITCodeLibrary._optimize_final_module(self)  # no super(), that the key of a kernel could not describe
            for function in self._final_module.functions:
                if function.linkage == llvmlite.binding.Linkage.linkonce_odr:
                    function.linkage = llvmlite.binding.Linkage.internal

    @register_pass(mutates_CFG=True, analysis_only=False)
    class _KernelLowering(NativeLowering):
        """Lowers to a :class:`_KernelLibrary`."""

        _name = "kernel_lowering"

        def run_pass(self, state):
            state.library = _KernelLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
            state.library.enable_object_caching()
            return super().run_pass(state)

    @register_pass(mutates_CFG=True, analysis_only=False)
    class _PartLowering(NativeLowering):
        """Lowers to a :class:`_PartLibrary`, and says what a call of it is."""

        _name = "part_lowering"

        def run_pass(self, state):
            state.library = library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
            state.flags.no_compile = True  # no address of it
            super().run_pass(state)
            fndesc, call_helper, env = (getattr(state["cr"], name) for name in ("fndesc", "call_helper", "env"))
            entry = _dynfunc.make_function(fndesc.lookup_module(), fndesc.qualname, "", 0, env, (library,))
            state.targetctx.insert_user_function(entry, fndesc, [library])
            state["cr"] = _LowerResult(fndesc, call_helper, cfunc=entry, env=env)
            return True

    class _KernelCompiler(CompilerBase):
        """numba's passes but for the last. Meanwhile no cycles are looked for among all that has been imported."""

        lowering: type = _KernelLowering

        def define_pipelines(self):
            passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
            passes.passes = [(self.lowering if a is NativeLowering else a, what) for a, what in passes.passes]
            passes._finalized = False
            passes.finalize()
            return [passes]

        def _compile_core(self):
            was_enabled = gc.isenabled()
            gc.disable()
            try:
                return super()._compile_core()
            finally:
                if was_enabled:
                    gc.enable()

    class _PartCompiler(_KernelCompiler):
        lowering = _PartLowering

    _COMPILED_BY = _PartLibrary.finalize, _KernelLibrary._optimize_final_module


# ---------------------------------------------------------------------------------------------------------------------
# The cache


class _KernelCache(NullCache):
    """The compiled signatures of one function, a file each: the checksum of a pickle, then the pickle.

    numba's dispatcher calls `load_overload` before it compiles and `save_overload` afterwards, with its compiler lock
    held. Neither ever raises an exception of its own; that of a signal handler, as time limits have, goes through.

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
        return _folders(_place(self.function.__globals__) or "")[0]

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
                raise _Fault(
                    f"{self.function.__qualname__} refers to addresses of this process",
                    "none" if numba.config.OPT else "unset NUMBA_OPT, which is 0: what is not optimised has them",
                )
            payload = dumps(data._reduce())
            for path in paths:
                try:
                    _write(path, payload)
                    return
                except OSError as error:  # not ours, read-only, or full: try the next folder
                    if not _is_own(error):
                        raise
                    refusal = error
            raise refusal
        except Exception as error:
            _fault(error)

    def _paths(self, sig, codegen):
        """Where the code for this signature may be: the key is in the name, so a stale file is never opened."""
        place = _place(self.function.__globals__)
        if place is None:
            return []
        reached = _reached(self.options, self.function)
        for item, described in reached.items():
            if item is not None and _compiled_as.setdefault(item, described) != described:
                return []  # changed since: of what is compiled by now some has the old value and some the new one
        label = f"{os.path.splitext(os.path.basename(place))[0]}.{self.function.__name__}"
        label = "".join(c for c in label if c.isalnum() or c in "_.")[:100]
        # The magic tuple has the CPU's name and features, as NUMBA_CPU_NAME and NUMBA_CPU_FEATURES would have them.
        machine = (numba.__version__, llvmlite.__version__, np.__version__, sys.version, codegen.magic_tuple())
        settings = [str(getattr(numba.config, name, None)) for name in _SETTINGS]
        settings.append(_key(_reached(*_COMPILED_BY)))
        contents = _short((str(sig), _key(reached)))
        name = "-".join([label, _short((machine, settings)), _sources(place), contents]) + _SUFFIX
        return [os.path.join(folder, name) for folder in _folders(place)]


def _short(key):
    return hashlib.sha256(repr(key).encode()).hexdigest()[:20]


# ---------------------------------------------------------------------------------------------------------------------
# The key


def _key(reached):
    """Hash all that is reached, in the same words in each process."""
    numbers = {item: number for number, item in enumerate(reached)}
    return _short([(text, [numbers[item] for item in used]) for text, used in reached.values()])


def _reached(*values):
    """Describe what is compiled in with a function, if that and the options for it are the values.

    Returns
    -------
    dict
        The values, under None, and each function and class that they reach, in an order that depends on nothing else:
        a pair of its description and the list of the functions and classes that this speaks of.
    """
    used = []
    reached, waiting = {None: (_short(_words(values, used)), used)}, used[::-1]
    while waiting:
        item = waiting.pop()
        if item not in reached:
            used = []
            words = _class_words(item, used) if isinstance(item, type) else _function_words(item, used)
            reached[item] = _short(words), used
            waiting += reversed(used)
    return reached


def _own_words(function):
    """What distinguishes functions of one name: the code, and the values that it closes over."""
    used = []
    words = _code_words(function.__code__), _cells(function, used), _words(function.__defaults__, used)
    return words, [item.__qualname__ for item in used]


def _function_words(function, used):
    code = function.__code__
    values = _named_words(function.__globals__, _names_of(code), used)
    defaults = function.__defaults__, function.__kwdefaults__
    rest = _cells(function, used), _words(defaults, used), _words(vars(function), used)
    return "function", function.__module__, function.__qualname__, _code_words(code), values, *rest


def _cells(function, used):
    cells = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # empty yet, as of a function that calls itself
            cells.append(cell.cell_contents)
    return _words(cells, used)


def _class_words(cls, used):
    members = {name: value for name, value in vars(cls).items() if name not in _INCIDENTAL}
    slots = types.MemberDescriptorType, types.GetSetDescriptorType
    members = {name: value for name, value in members.items() if not isinstance(value, slots)}
    return "class", cls.__module__, cls.__qualname__, _words(cls.__bases__, used), _words(members, used)


def _named_words(namespace, names, used):
    """Those values of a namespace that code names; modules by those of their members that it names."""
    words = []
    for name in filter(namespace.__contains__, names):
        value = namespace[name]
        if isinstance(value, types.ModuleType) and not _is_known(value.__name__):
            others = [other for other in names if other != name]
            words.append((name, value.__name__, _named_words(vars(value), others, used)))
        else:
            words.append((name, _words(value, used)))
    return words


@functools.cache
def _code_words(code):
    """What a code object does, and not in which line of which file it stands."""
    if dis.opmap["IMPORT_NAME"] in code.co_code[::2]:
        raise _Fault(f"{code.co_name}, which a kernel reaches, imports something", "import it at the top of the module")
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    arguments = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    handlers = getattr(code, "co_exceptiontable", b"").hex()
    return "code", code.co_name, code.co_code.hex(), names, arguments, handlers, _words(code.co_consts, [])


@functools.cache
def _names_of(code):
    """Names that a code object speaks of, and those of the functions that it makes: globals and attributes."""
    inner = [_names_of(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return sorted({*code.co_names, *(name for names in inner for name in names)})


def _is_known(module):
    return module.partition(".")[0] in _KNOWN


def _words(value, used):
    """Describe a value in words that are the same in each process; functions and classes are appended to ``used``."""
    kind = type(value).__qualname__
    if isinstance(value, _PLAIN):
        return kind, repr(value)
    if isinstance(value, _TEXTS):
        return kind, str(value)
    if isinstance(value, _NAMED):
        return kind, value.__module__ if isinstance(value, types.BuiltinFunctionType) else "numpy", value.__name__
    if isinstance(value, types.ModuleType) and _is_known(value.__name__):
        return kind, value.__name__
    if isinstance(value, (types.FunctionType, type)):
        # not the __module__ of a function, which functools.wraps sets
        module = value.__module__ if isinstance(value, type) else value.__globals__.get("__name__", "?")
        if _is_known(module):
            return kind, module, value.__qualname__
        used.append(value)
        return kind
    if isinstance(value, types.CodeType):
        return _code_words(value)
    if isinstance(value, enum.Enum):
        return kind, value.name, _words(type(value), used)
    parts = _parts(value)
    if parts is None:
        raise _Fault(
            f"a kernel refers to {value!r}, for which no word is known",
            "give it a number, a tuple, an array or a function in its place",
        )
    return kind, [_words(part, used) for part in parts]


def _parts(value):
    """What an object is made of, or None."""
    if hasattr(value, "py_func") and hasattr(value, "targetoptions"):  # a dispatcher
        return value.targetoptions, value.py_func
    if hasattr(value, "_defn"):  # an intrinsic
        return value._prefer_literal, value._defn
    if isinstance(value, (list, tuple)):
        return [*value] if type(value) in (list, tuple) else [type(value), *value]
    if isinstance(value, dict):
        return [part for pair in sorted(value.items(), key=repr) for part in pair]
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=lambda part: repr(_words(part, [])))  # each process has them in an order of its own
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.dtype, value.shape, value.strides, hashlib.sha256(value.tobytes()).hexdigest()
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    if isinstance(value, (staticmethod, classmethod)):
        return (value.__func__,)
    if isinstance(value, property):
        return value.fget, value.fset, value.fdel
    if hasattr(value, "cache_parameters"):  # functools.lru_cache
        return (value.__wrapped__,)
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Folders and files


def _place(namespace):
    """Path that a module was imported from, or None: what is typed at a prompt is not kept."""
    path = namespace.get("__file__")
    if path and not getattr(sys, "frozen", False):
        return os.path.abspath(path)
    if not path and namespace.get("__spec__") is None:
        return None
    # Part of an executable, which may unpack itself to another folder each time.
    return os.path.join(os.path.abspath(sys.executable), *namespace["__name__"].split("."))


def _folders(place):
    """List the folders for the kernels of a module, best first."""
    package = os.path.dirname(place)
    label = _short(package)  # two installations do not share a folder, each would remove the other's files
    chosen = getattr(numba.config, "CACHE_DIR", "") or os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return [os.path.join(os.path.abspath(chosen), f"softmax_clf-{label}")]
    user = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(user):  # as the XDG specification wants
        user = os.path.join(os.path.expanduser("~"), ".cache")
    folders = [os.path.join(package, "__pycache__")] if os.path.isdir(package) else []
    return [folder for folder in (*folders, os.path.join(user, "softmax_clf", label)) if os.path.isabs(folder)]


def _file_of(place):
    """The file that a module is in, which may be an archive or an executable; None where there is none."""
    while not os.path.exists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    return place if os.path.isfile(place) else None


def _is_trusted(status):
    """Tell whether only we can have written it, or root, or who owns this source file and so runs code as us anyway.

    A pickle runs what its writer wants, and the checksum is no signature.
    """
    if not hasattr(os, "geteuid"):  # Windows: no owners, folders of a user are private
        return True
    file = _file_of(_place(globals()))
    owners = {0, os.geteuid(), os.stat(file).st_uid if file else 0}
    return status.st_uid in owners and not status.st_mode & (stat.S_IWOTH | stat.S_IWGRP)


@functools.cache
def _sources(place):
    """Hash the source files of a module and of all kernels, so that `_write` knows what it supersedes, no more."""
    kernels = os.path.dirname(_place(globals()))
    paths = sorted(glob.glob(os.path.join(glob.escape(kernels), "*.py")))
    contents = []
    for path in (*paths, place):
        with _past_system_errors(), open(path, "rb") as file:  # there may be none
            contents.append(hashlib.sha256(file.read()).hexdigest())
    return _short(contents)


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
        raise _Fault(f"{path} is damaged", "none, it is written anew; where that is seen again, look after the disk")
    return payload


def _write(path, payload):
    """Write a file at once: another process sees all of it or nothing. Remove those that it supersedes."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    if not _is_trusted(os.stat(folder)):
        raise PermissionError(errno.EACCES, "Owned or writable by others", folder)
    temporary = f"{path}.{uuid.uuid4().hex}{_TEMPORARY}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(temporary, flags, 0o644), "wb") as file:
            file.write(hashlib.sha256(payload).digest() + payload)
        os.replace(temporary, path)
    except BaseException:
        with _past_system_errors():
            os.unlink(temporary)
        raise
    function_and_machine, sources, _ = os.path.basename(path).rsplit("-", 2)
    for other in glob.glob(os.path.join(glob.escape(folder), f"{function_and_machine}-*")):
        with _past_system_errors():
            if not os.path.basename(other).startswith(f"{function_and_machine}-{sources}-") or _is_left_behind(other):
                os.unlink(other)


def _is_left_behind(path):
    """Tell whether the process that wrote a file has died of it: it takes milliseconds to write one."""
    return path.endswith(_TEMPORARY) and time.time() - os.stat(path).st_mtime > 3600


def _is_writable(folder):
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return _is_trusted(os.stat(folder))
    except OSError as error:
        if not _is_own(error):
            raise
        return False


# ---------------------------------------------------------------------------------------------------------------------
# Forks

_PATIENCE = 60.0  # seconds that a fork waits for other threads; a kernel compiles in five at most
_held: dict = {}  # thread: the locks that it took before its fork


def _compiler_locks():
    """List the locks of numba's compiler and of LLVM, in the order in which numba takes them."""
    numbas = getattr(numba.core.compiler_lock.global_compiler_lock, "_lock", None)
    llvms = getattr(getattr(llvmlite.binding.ffi.lib, "_lock", None), "_lock", None)
    return [lock for lock in (numbas, llvms) if lock is not None]


def _before_fork():
    """Wait until no other thread compiles or loads a kernel.

    A child has no such thread: it would wait for ever for the locks, or go on with a compiler that is amid something.
    """
    for lock in _compiler_locks():
        if lock.acquire(timeout=_PATIENCE):
            _held.setdefault(threading.get_ident(), []).append(lock)


def _after_fork():
    for lock in reversed(_held.pop(threading.get_ident(), [])):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


# ---------------------------------------------------------------------------------------------------------------------
# Faults

_FOLDER = "set NUMBA_CACHE_DIR to a folder of your own that can be written"
_OTHER_NUMBA = "use the version of numba that this one of softmax_clf was made for"


class _Fault(Exception):
    """What the cache itself finds wrong, and the remedy."""

    def __init__(self, message, remedy):
        super().__init__(message)
        self.remedy = remedy


@contextlib.contextmanager
def _past_system_errors():
    """Go on where the system refuses, mostly because another process was first."""
    try:
        yield
    except OSError as error:
        if not _is_own(error):
            raise


def _is_own(error):
    """Tell a fault of the cache from what a signal handler or another thread raised while it was at work.

    The system numbers its errors; ``raise TimeoutError`` has no number. Others are known by who made and raised them.
    """
    if isinstance(error, OSError):
        return error.errno is not None
    trace, modules = error.__traceback__, [type(error).__module__]
    while trace:
        modules.append(trace.tb_frame.f_globals.get("__name__", "?"))
        trace = trace.tb_next
    return all(module == __name__ or _is_known(module) for module in modules)


def _fault(error):
    """Count a fault of the cache, and warn of the first one; the kernel is compiled as if there were no cache.

    Called where ``error`` is being handled: unless it is the cache's own it is raised again.
    """
    global _last_fault
    if not _is_own(error):
        raise error
    _counts["faults"] += 1
    first, _last_fault = _last_fault is None, f"{type(error).__name__.lstrip('_')}: {error}"
    if not first:
        return
    remedy = _FOLDER if isinstance(error, OSError) else getattr(error, "remedy", _OTHER_NUMBA)
    with contextlib.suppress(RuntimeWarning):  # warnings may be errors here, but a cache fails no call
        warnings.warn(
            f"Expected to keep compiled kernels on disk, got {_last_fault}. Such kernels are compiled anew, which "
            f"takes seconds. Remedy: {remedy}.",
            RuntimeWarning,
            stacklevel=2,
        )
