"""The decorator for kernels: its flags, and a cache whose faults are never more than a compilation."""

import compileall
import inspect
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import llvmlite.binding
import numba
import pytest
from forks import Forks

from softmax_clf.kernels import jit as jit_module
from softmax_clf.kernels import tiles
from softmax_clf.kernels.jit import cache_state, jit

ROOT = Path(__file__).resolve().parents[1]

# A module of kernels outside of the package: one calls the other, which a factory made for a number.
KERNELS = """
from softmax_clf.kernels.jit import jit

def make(factor):
    @jit(inline="never")
    def scale(x):
        return x * factor

    @jit(fastmath={"contract", "reassoc"})
    def kernel(x):
        return scale(x) + 1.0

    return kernel

def scale_of(kernel):
    return kernel.py_func.__closure__[0].cell_contents

double, triple = make(2.0), make(3.0)

@jit
def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)
"""

# What each process reports: the results, the cache's state and the warnings.
REPORT = """
import json, sys, warnings
{before}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import temporary_kernels
    from softmax_clf.kernels.jit import cache_state
    imported = dict(cache_state())
    results = {results}
    state = cache_state()
print(json.dumps(dict(results=results, state=state, imported=imported, warnings=[str(w.message) for w in caught])))
"""


class Sandbox:
    """A folder with the module above, and processes that use it with a home of their own.

    Without ``forks`` they are started anew, as a user's are; so are those that numba tells something at its import.
    """

    def __init__(self, folder, forks=None):
        self.folder, self.forks = folder, forks
        self.module = folder / "temporary_kernels.py"
        if not self.module.exists():
            self.module.write_text(KERNELS)
        # A copy of the decorator, alone in its package: it hashes its neighbours, which may be edited during the tests,
        # and a hundred processes need not import scikit-learn.
        self.kernels = folder / "softmax_clf" / "kernels"
        self.kernels.mkdir(parents=True, exist_ok=True)
        for path in (self.kernels.parent / "__init__.py", self.kernels / "__init__.py"):
            path.write_text("")
        shutil.copy(jit_module.__file__, self.kernels)
        self.pycache = folder / "__pycache__"
        self.home = folder / "home"
        self.home.mkdir(exist_ok=True)

    @property
    def files(self):
        return sorted(self.folder.rglob("*.kernel"))

    def environment(self, **variables):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_", "PYTHON"))}
        return {**kept, "PYTHONPATH": str(self.folder), "HOME": str(self.home), **variables}

    def command(self, results="[temporary_kernels.double(5.0)]", before="", flags=()):
        return [sys.executable, *flags, "-c", REPORT.format(results=results, before=textwrap.dedent(before))]

    def run(self, results="[temporary_kernels.double(5.0)]", before="", flags=(), **variables):
        command, environment = self.command(results, before, flags), self.environment(**variables)
        told = [name for name in variables if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR"]
        if self.forks is not None and not told and set(flags) <= {"-B"}:
            done = self.forks.run(command[-1], self.folder, environment, keeps_bytecode="-B" not in flags)
        else:
            done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def forks():
    if not hasattr(os, "fork"):
        yield None
        return
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture
def sandbox(tmp_path, forks):
    return Sandbox(tmp_path, forks)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder whose kernel is in the cache, to be copied."""
    sandbox = Sandbox(tmp_path_factory.mktemp("compiled"))
    report = sandbox.run()
    assert_compiled(report, faulty=False)
    assert len(sandbox.files) == 2
    return sandbox.folder


@pytest.fixture
def warm(compiled, tmp_path, forks):
    """A sandbox whose kernel is in the cache."""
    return Sandbox(shutil.copytree(compiled, tmp_path / "warm"), forks)


def assert_loaded(report, results=(11.0,)):
    assert report["results"] == list(results)
    state = report["state"]
    assert (state["loads"] > 0, state["misses"], state["faults"]) == (True, 0, 0), state
    assert report["warnings"] == []


def assert_compiled(report, *, faulty, results=(11.0,)):
    assert report["results"] == list(results)
    state = report["state"]
    assert (state["loads"], state["misses"] > 0, state["faults"] > 0) == (0, True, faulty), state
    assert len(report["warnings"]) == (1 if faulty else 0), report["warnings"]
    if faulty:
        for word in ("Expected", "got", "Remedy"):
            assert word in report["warnings"][0]


# ---------------------------------------------------------------------------------------------------------------------
# The decorator


def test_flags():
    @jit
    def plain(x):
        return x

    @jit(fastmath={"contract"}, inline="always")
    def with_options(x):
        return x

    for kernel in (plain, with_options):
        options = kernel.targetoptions
        assert (options["nogil"], options["error_model"], options["boundscheck"]) == (True, "numpy", False)
        assert options["nopython"]
        assert "parallel" not in options
        assert not kernel.signatures  # compiled at the first call
    assert with_options.targetoptions["fastmath"] == {"contract"}
    assert plain(3) == 3


def test_error_model_is_numpys():
    @jit
    def divide(x, y):
        return x / y

    assert divide(1.0, 0.0) == float("inf")


@pytest.mark.parametrize("option", ["parallel", "cache"])
def test_refused_options(option):
    with pytest.raises(ValueError, match=rf"Expected .*{option}=True.*got.*Remedy"):
        jit(**{option: True})(lambda x: x)


def test_import_compiles_nothing_and_writes_nothing(sandbox):
    report = sandbox.run(results="[]")
    assert report["imported"]["loads"] == report["imported"]["misses"] == 0
    assert sandbox.files == []


def test_disabled_jit(sandbox):
    report = sandbox.run(
        results="[temporary_kernels.double(5.0), type(temporary_kernels.double).__name__]", NUMBA_DISABLE_JIT="1"
    )
    assert report["results"] == [11.0, "function"]
    assert report["warnings"] == []
    assert sandbox.files == []


def test_numbas_settings_are_untouched(sandbox):
    before = """
    import os, numba
    from numba.core import config
    settings = lambda: {name: repr(getattr(config, name)) for name in dir(config) if name.isupper()}
    old = settings(), dict(os.environ)
    """
    results = "[temporary_kernels.double(5.0), (settings(), dict(os.environ)) == old]"
    report = sandbox.run(results=results, before=before)
    assert report["results"] == [11.0, True]


# ---------------------------------------------------------------------------------------------------------------------
# What numba provides


def test_private_numba_api():
    """All that jit.py takes from numba's inside: should one of these fail, there is no cache until it is adapted."""
    from numba.core import config
    from numba.core.caching import NullCache
    from numba.core.codegen import CodeLibrary
    from numba.core.compiler import CompileResult
    from numba.core.dispatcher import Dispatcher
    from numba.core.registry import cpu_target
    from numba.core.serialize import dumps

    assert jit_module.NullCache is NullCache
    assert jit_module.CompilerBase is not None
    assert {"load_overload", "save_overload", "cache_path", "flush"} <= set(dir(NullCache))
    assert list(inspect.signature(NullCache.load_overload).parameters) == ["self", "sig", "target_context"]
    assert len(inspect.signature(NullCache.save_overload).parameters) == 3
    assert "self._cache.load_overload(sig, self.targetctx)" in inspect.getsource(Dispatcher.compile)
    assert "self._cache.save_overload(sig, cres)" in inspect.getsource(Dispatcher.compile)
    assert callable(CompileResult._reduce)
    assert "target_context" in inspect.signature(CompileResult._rebuild).parameters
    assert hasattr(CodeLibrary, "has_dynamic_globals")
    assert callable(dumps)
    context = cpu_target.target_context
    context.refresh()
    _triple, cpu_name, features = context.codegen().magic_tuple()
    assert isinstance(cpu_name, str)
    assert isinstance(features, str)
    for name in jit_module._SETTINGS:
        assert hasattr(config, name)
    emitted = numba.extending.intrinsic(test_flags)
    assert emitted._defn is test_flags
    assert emitted._prefer_literal is False
    assert config is numba.config
    assert isinstance(config.CACHE_DIR, str)
    assert len(jit_module._compiler_locks()) == 2
    kernel = jit(lambda x: x)
    assert isinstance(kernel._cache, jit_module._KernelCache)
    assert kernel.targetoptions
    assert kernel.py_func(1) == 1


# A kernel with a part that LLVM does not inline, and one with another of its name.
PARTS = """
from softmax_clf.kernels.jit import jit, jit_part

def make(factor):
    @jit_part
    def scale(x):
        for i in range(x.shape[0]):
            for j in range(x.shape[0]):
                for k in range(x.shape[0]):
                    x[i] += x[j] * x[k] * factor

    @jit
    def kernel(x):
        scale(x)
        scale(x[1:])
        scale(x[2:])
        return x[0]

    return kernel

double, triple = make(2.0), make(3.0)
"""
RESULTS_OF_PARTS = "[temporary_kernels.double(np.ones(1)), temporary_kernels.triple(np.ones(1))]"


def test_parts_are_compiled_and_kept_with_their_kernels_alone(sandbox):
    sandbox.module.write_text(PARTS)
    assert_compiled(sandbox.run(RESULTS_OF_PARTS, "import numpy as np"), faulty=False, results=[3.0, 4.0])
    assert len(sandbox.files) == 2
    assert_loaded(sandbox.run(RESULTS_OF_PARTS, "import numpy as np"), results=[3.0, 4.0])
    sandbox.files[0].unlink()  # one from the cache beside one that is compiled
    report = sandbox.run(RESULTS_OF_PARTS, "import numpy as np")
    assert (report["results"], report["state"]["loads"], report["state"]["misses"]) == ([3.0, 4.0], 1, 1)


def test_parts_leave_the_garbage_collector_as_it_was(sandbox):
    sandbox.module.write_text(PARTS)
    results = f"[{RESULTS_OF_PARTS}, gc.isenabled()]"
    for state in ("enable", "disable"):
        report = sandbox.run(
            results, f"import gc, numpy as np; gc.{state}()", NUMBA_CACHE_DIR=str(sandbox.folder / state)
        )
        assert report["results"] == [[3.0, 4.0], state == "enable"]


def test_another_numba_compiles_parts_by_themselves(sandbox):
    sandbox.module.write_text(PARTS)
    before = """
    import numpy as np
    import numba.core.compiler as c
    x = c._LowerResult
    del c._LowerResult
    import temporary_kernels
    c._LowerResult = x
    """
    report = sandbox.run(RESULTS_OF_PARTS, before)
    assert (report["results"], report["warnings"]) == ([3.0, 4.0], [])
    assert len(sandbox.files) == 4


@pytest.mark.parametrize(
    "sabotage",
    [
        # numba needs these two itself, so they are missing only while jit.py is imported
        "import numba.core.caching as c; x = c.NullCache; del c.NullCache; import temporary_kernels; c.NullCache = x",
        "import numba.core.serialize as c; x = c.dumps; del c.dumps; import temporary_kernels; c.dumps = x",
        "import numba.core.compiler as c; del c.CompileResult._reduce",
        "import numba.core.codegen as c; del c.CPUCodegen.magic_tuple",
    ],
)
def test_another_numba_means_no_cache(sandbox, sabotage):
    for _ in range(2):
        report = sandbox.run(before=sabotage)
        assert (report["results"], report["state"]["loads"], report["state"]["faults"] > 0) == ([11.0], 0, True)
    assert sandbox.files == []


# ---------------------------------------------------------------------------------------------------------------------
# The key


def test_second_process_loads(warm):
    assert_loaded(warm.run())
    assert_loaded(Sandbox(warm.folder).run())  # one that is started anew


def test_closures(sandbox):
    """Kernels of one factory differ in a number, held by a dispatcher that they hold; and a kernel calls itself."""
    results = "[temporary_kernels.double(5.0), temporary_kernels.triple(5.0), temporary_kernels.factorial(5)]"
    assert_compiled(sandbox.run(results=results), faulty=False, results=(11.0, 16.0, 120))
    assert_loaded(sandbox.run(results=results), results=(11.0, 16.0, 120))


def test_types_have_files_of_their_own(warm):
    results = "[temporary_kernels.double(5.0), temporary_kernels.double(5)]"
    report = warm.run(results=results)
    assert report["state"]["loads"] == 1
    assert report["state"]["misses"] > 0
    assert_loaded(warm.run(results=results), results=(11.0, 11.0))


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [
        ("return x * factor", "return x * factor * 10.0", 101.0),  # what the kernel calls
        ('{"contract", "reassoc"}', '{"contract"}', 11.0),  # options
        ("make(2.0)", "make(4.0)", 21.0),  # a closure's value
    ],
)
def test_edits_are_seen(warm, old, new, result):
    n_files = len(warm.files)
    warm.module.write_text(KERNELS.replace(old, new))
    assert_compiled(warm.run(), faulty=False, results=(result,))
    assert len(warm.files) == n_files  # the stale ones are gone
    assert_loaded(warm.run(), results=(result,))


def test_edits_of_the_packages_kernels_are_seen(warm):
    """Any kernel may call any other."""
    (warm.kernels / "another.py").write_text("EDITED = True")
    assert_compiled(warm.run(), faulty=False)
    assert_loaded(warm.run())


def test_all_that_is_compiled_in_is_in_the_key():
    """Each value, helper, class and intrinsic that a kernel reaches, changed before and after the import."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("kernel_keys.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["unseen"] == []
    assert report["repeated"]  # and nothing else changes it
    names = {tuple(name) for name in report["names"]}
    assert {("tiles", "Lanes"), ("tiles", "score_tile"), ("tiles", "row_pointer"), ("csr", "_AHEAD")} <= names
    assert {("convert", "_value, overloaded"), ("softmax", "_SUM"), ("gram", "_OUTPUTS")} <= names
    assert {("elementary", "exp"), ("elementary", "Symbol"), ("elementary", "EXACT")} <= names
    assert len(names) > 40
    assert {"predict 0", "loss 0", "loss_gradient"} <= set(report["by_width"])  # of vectors
    assert {"predict 0", "loss_gradient"} <= set(report["by_shape"])  # of tiles


# A kernel that reaches a value through a class and an intrinsic.
EMITTED = """
from llvmlite import ir
from numba import types
from softmax_clf.kernels.jit import intrinsic, jit

SUMMAND = 1

class Maker:
    def constant(self):
        return ir.Constant(ir.IntType(64), SUMMAND)

def plain(x):
    return x + SUMMAND

@intrinsic(plain)
def add(typingctx, x):
    def codegen(context, builder, signature, args):
        return builder.add(args[0], Maker().constant())
    return types.int64(types.int64), codegen

@jit
def double(x):
    return add(x)

@jit
def twice(x):
    return add(add(x))
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SUMMAND = 1", "SUMMAND = 3"),
        ("SUMMAND)\n\ndef plain", "SUMMAND + 2)\n\ndef plain"),
        ("builder.add", "builder.sub"),
    ],
    ids=["value", "class", "intrinsic"],
)
def test_files_that_are_replaced_under_a_process(sandbox, old, new):
    """What is compiled after an upgrade, from what was imported before, is not what the new version loads."""
    assert EMITTED.count(old) == 1
    right = {EMITTED: 6, EMITTED.replace(old, new): 4 if "sub" in new else 8}
    for imported, replaced in (list(right), list(right)[::-1]):
        for path in sandbox.files:
            path.unlink()
        sandbox.module.write_text(imported)
        before = f"""
        import pathlib, temporary_kernels
        pathlib.Path({str(sandbox.module)!r}).write_text({replaced!r})
        """
        results = "[temporary_kernels.double(5)]"

        def forget_bytecode():
            """Python's own cache takes sources of one second and one length for the same."""
            for path in sandbox.module.parent.rglob("temporary_kernels*.pyc"):
                path.unlink()

        forget_bytecode()
        assert_compiled(sandbox.run(results=results, before=before), faulty=False, results=[right[imported]])
        forget_bytecode()
        assert_compiled(sandbox.run(results=results), faulty=False, results=[right[replaced]])
        assert_loaded(sandbox.run(results=results), results=[right[replaced]])
        sandbox.module.write_text(imported)
        forget_bytecode()
        assert sandbox.run(results=results)["results"] == [right[imported]]


def test_values_that_change_between_kernels(sandbox):
    """Nobody knows what a kernel is made of whose parts were compiled before and after."""
    sandbox.module.write_text(EMITTED)
    before = """
    import temporary_kernels as t
    t.double(5)
    t.SUMMAND = 3
    """
    results = "[temporary_kernels.twice(5)]"
    report = sandbox.run(results=results, before=before)
    assert report["state"]["faults"] == 0
    assert len(sandbox.files) == 1
    assert_compiled(sandbox.run(results=results), faulty=False, results=[7])


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("import sys\nthing = sys.stdin", "no word is known"),
        ("def thing():\n    from math import pi\n    return pi", "imports something"),
    ],
    ids=["unknown", "import"],
)
def test_what_cannot_be_described_is_not_kept(sandbox, module, message):
    lines = [
        "from softmax_clf.kernels.jit import jit, overload",
        module,
        "def helper():",
        "    return 1",
        "@overload(helper)",
        "def _():",
        "    unused = thing",
        "    return lambda: 1",
        "@jit",
        "def double(x):",
        "    return x + helper()",
    ]
    sandbox.module.write_text("\n".join(lines))
    for _ in range(2):
        report = sandbox.run(results="[temporary_kernels.double(10.0)]")
        assert_compiled(report, faulty=True)
        assert message in report["warnings"][0]
    assert sandbox.files == []


@pytest.mark.parametrize(
    "before",
    [
        "import numba; numba.__version__ = '0.0'",
        "import llvmlite, numba; llvmlite.__version__ = '0.0'",
        "import sys, temporary_kernels; sys.version = '0.0'",
        # a value of the module that no hash of sources sees
        "import temporary_kernels as t; t.scale_of(t.double).py_func.__closure__[0].cell_contents = 2",
    ],
)
def test_versions_and_values_are_in_the_key(warm, before):
    assert_compiled(warm.run(before=before), faulty=False)


@pytest.mark.parametrize(
    ("features", "expected"),
    [({"avx2"}, (32, 16)), ({"avx512f", "avx512vl"}, (64, 32)), ({"avx512f"}, (16, 16)), ({"neon"}, (16, 32))],
)
def test_vectors_are_those_of_the_processor(monkeypatch, features, expected):
    monkeypatch.setattr(tiles, "processor_features", lambda: features)
    monkeypatch.setattr(llvmlite.binding, "get_process_triple", lambda: "x86_64-unknown-linux-gnu")
    assert tiles._vector_registers() == expected


@pytest.mark.parametrize("triple", ["aarch64-unknown-linux-gnu", "arm64-apple-darwin23.1.0"])
def test_vectors_of_arm64_where_nothing_is_told(monkeypatch, triple):
    monkeypatch.setattr(tiles, "processor_features", set)
    monkeypatch.setattr(llvmlite.binding, "get_process_triple", lambda: triple)
    assert tiles._vector_registers() == (16, 32)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"NUMBA_CPU_NAME": "generic"}, []),
        ({"NUMBA_CPU_FEATURES": "+avx,+avx2,-avx512vl"}, ["avx", "avx2"]),
    ],
)
def test_the_processor_is_that_which_numba_compiles_for(sandbox, variables, expected):
    before = "from softmax_clf.kernels.jit import processor_features"
    assert sandbox.run(results="sorted(processor_features())", before=before, **variables)["results"] == expected


def test_features_where_numba_does_not_tell(monkeypatch):
    known = jit_module.processor_features()
    monkeypatch.delattr(jit_module, "cpu_target")
    assert {"avx2", "neon", "avx512vl"} & jit_module.processor_features() == {"avx2", "neon", "avx512vl"} & known


def test_cpu_is_in_the_key(warm):
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    assert_compiled(warm.run(**generic), faulty=False)
    assert_loaded(warm.run(**generic))
    assert_loaded(warm.run())  # one machine does not throw out the kernels of another


# ---------------------------------------------------------------------------------------------------------------------
# Faults


def empty(blob):
    return b""


def truncated(blob):
    return blob[: len(blob) // 2]


def flipped(blob):
    middle = len(blob) // 2
    return blob[:middle] + bytes([blob[middle] ^ 1]) + blob[middle + 1 :]


def checksum_flipped(blob):
    return bytes([blob[0] ^ 1]) + blob[1:]


def foreign(blob):
    return b"not a kernel" * 100


def no_pickle(blob):
    import hashlib

    payload = b"\x80\x04 the checksum is right, the rest is not"
    return hashlib.sha256(payload).digest() + payload


def another_pickle(blob):
    import hashlib
    import pickle

    payload = pickle.dumps(("not", "a", "kernel"))
    return hashlib.sha256(payload).digest() + payload


@pytest.mark.parametrize(
    "damage",
    [empty, truncated, flipped, checksum_flipped, foreign, no_pickle, another_pickle],
    ids=lambda f: f.__name__,
)
def test_damaged_file(warm, damage):
    for path in warm.files:
        path.write_bytes(damage(path.read_bytes()))
    assert_compiled(warm.run(), faulty=True)
    assert_loaded(warm.run())  # and it was mended


def test_damaged_bytes_are_not_unpickled(warm):
    for path in warm.files:
        path.write_bytes(flipped(path.read_bytes()))
    before = """
    import types, pickle, softmax_clf.kernels.jit as j
    def loads(payload):
        raise SystemExit("unpickled")
    j.pickle = types.SimpleNamespace(loads=loads)
    """
    assert_compiled(warm.run(before=before), faulty=True)


def test_folder_in_place_of_a_file(warm):
    for path in warm.files:
        path.unlink()
        path.mkdir()
    assert_compiled(warm.run(NUMBA_CACHE_DIR=""), faulty=True)


def test_nowhere_to_write(sandbox):
    """Neither the folder of the module nor the home; root can write anywhere, hence files in place of folders."""
    sandbox.pycache.write_text("")
    (sandbox.home / ".cache").write_text("")
    for _ in range(2):
        report = sandbox.run(flags=["-B"])
        assert_compiled(report, faulty=True)
        assert "NUMBA_CACHE_DIR" in report["warnings"][0]
    assert sandbox.files == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can write to any folder")
def test_read_only_folders(sandbox):
    sandbox.pycache.mkdir()
    for folder in (sandbox.pycache, sandbox.home):
        folder.chmod(0o555)
    try:
        assert_compiled(sandbox.run(), faulty=True)
    finally:
        for folder in (sandbox.pycache, sandbox.home):
            folder.chmod(0o755)


def test_warnings_as_errors_fail_no_call(sandbox):
    sandbox.pycache.write_text("")
    (sandbox.home / ".cache").write_text("")
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", "import temporary_kernels; print(temporary_kernels.double(5.0))"],
        cwd=sandbox.folder,
        env=sandbox.environment(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "11.0\n"), done.stderr


@pytest.mark.parametrize("when", ["write", "replace", "open"])
def test_full_disk(sandbox, when):
    before = f"""
    import builtins, errno, os
    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")
    class File:
        def __init__(self, file):
            self.file = file
        def __enter__(self):
            return self
        def __exit__(self, *exception):
            self.file.close()
        write = full
    import numba, numba.core.compiler, llvmlite.binding, softmax_clf.kernels.jit as j
    if {when!r} == "write":
        j.open = lambda path, mode="r": File(open(path, mode)) if "w" in mode else open(path, mode)
    else:
        from types import SimpleNamespace
        j.os = SimpleNamespace(**{{**vars(os), {when!r}: full}})
    """
    assert_compiled(sandbox.run(before=before), faulty=True)
    left = [path for path in sandbox.folder.rglob("*") if ".kernel" in path.name]
    assert left == []  # no half a file either
    assert_compiled(sandbox.run(), faulty=False)


def test_unpicklable(sandbox):
    before = """
    import numba.core.compiler as c
    reduce = c.CompileResult._reduce
    c.CompileResult._reduce = lambda self: (*reduce(self), __import__("threading").Lock())
    """
    assert_compiled(sandbox.run(before=before), faulty=True)
    assert sandbox.files == []


def test_addresses_of_this_process_are_not_kept(sandbox):
    """A ctypes function is compiled in as an address."""
    sandbox.module.write_text(
        textwrap.dedent(
            """
            import ctypes
            from softmax_clf.kernels.jit import jit
            cosine = ctypes.CDLL(None).abs
            cosine.restype, cosine.argtypes = ctypes.c_int, [ctypes.c_int]

            @jit
            def double(x):
                return cosine(-11) * 1.0
            """
        )
    )
    for _ in range(2):
        assert_compiled(sandbox.run(), faulty=True)
    assert sandbox.files == []


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs a signal")
@pytest.mark.parametrize("error", ["TimeoutError", "ValueError", "Late"])
def test_time_limits_go_through(warm, error):
    """An exception of a signal handler is no fault of the cache, of whatever class it is and wherever it arrives."""
    before = f"""
    import os, pickle, signal
    import softmax_clf.kernels.jit as j
    class Late(Exception):
        pass
    def handler(*_):
        raise {error}("late")
    signal.signal(signal.SIGUSR1, handler)
    class Interrupted:
        def __init__(self, module, name):
            self.module, self.name = module, name
        def __getattr__(self, name):
            def interrupted(*arguments, **keywords):
                os.kill(os.getpid(), signal.SIGUSR1)
                return getattr(self.module, name)(*arguments, **keywords)
            return interrupted if name == self.name else getattr(self.module, name)
    def call(argument, module, name):
        real = getattr(j, module)
        setattr(j, module, Interrupted(real, name))
        try:
            return temporary_kernels.double(argument)
        except Exception as error:
            return str(error)
        finally:
            setattr(j, module, real)
    read = ("pickle", "loads"), ("os", "stat"), ("os", "fstat")
    written = ("os", "makedirs"), ("os", "replace")
    """
    # There are kernels of float64. There are none of int64: two are compiled, and kept by this process.
    results = "[*(call(5.0, *one) for one in read), *(call(5, *one) for one in written), temporary_kernels.double(5)]"
    report = warm.run(results=results, before=before)
    assert report["results"] == [*["late"] * 5, 11.0]
    assert report["state"]["faults"] == 0
    assert report["warnings"] == []
    assert list(warm.folder.rglob("*.tmp")) == []


@pytest.mark.parametrize(
    ("damage", "remedy"),
    [("truncated", "written anew"), ("no_pickle", "version of numba")],
)
def test_remedies_fit_their_causes(warm, damage, remedy):
    for path in warm.files:
        path.write_bytes(globals()[damage](path.read_bytes()))
    (message,) = warm.run()["warnings"]
    assert remedy in message
    assert "NUMBA_CACHE_DIR" not in message


def test_without_optimisation(sandbox):
    """Then machine code holds addresses; of no folder is that a fault."""
    kernels = KERNELS.replace("return x * factor", "return abs(np.full(1, x)[0]) * factor")
    sandbox.module.write_text("import numpy as np\n" + kernels.replace("@jit(", "@jit(_nrt=True, "))
    report = sandbox.run(NUMBA_OPT="0")
    assert_compiled(report, faulty=True)
    assert "unset NUMBA_OPT" in report["warnings"][0]
    assert "NUMBA_CACHE_DIR" not in report["warnings"][0]


def test_source_without_a_file(sandbox):
    """At a prompt there is nothing to hash: compiled, not kept, and nothing to warn of."""
    code = "from softmax_clf.kernels.jit import jit\n@jit\ndef f(x): return x + 1\nprint(f(1))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=sandbox.folder, env=sandbox.environment(), capture_output=True
    )
    assert (done.returncode, done.stdout.split()) == (0, [b"2"]), done.stderr
    assert sandbox.files == []


def test_processes_at_once(sandbox):
    processes = [
        subprocess.Popen(
            sandbox.command(),
            cwd=sandbox.folder,
            env=sandbox.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    for process in processes:
        stdout, stderr = process.communicate()
        assert process.returncode == 0, stderr
        report = json.loads(stdout)
        assert (report["results"], report["state"]["faults"], report["warnings"]) == ([11.0], 0, [])
    assert_loaded(sandbox.run())
    assert list(sandbox.folder.rglob("*.tmp")) == []


# ---------------------------------------------------------------------------------------------------------------------
# Folders


def test_chosen_folder(sandbox):
    chosen = sandbox.folder / "chosen" / "deeper"
    assert_compiled(sandbox.run(NUMBA_CACHE_DIR=str(chosen)), faulty=False)
    assert sandbox.files
    assert all(chosen in path.parents for path in sandbox.files)
    assert_loaded(sandbox.run(NUMBA_CACHE_DIR=str(chosen)))


def test_users_folder_where_the_packages_cannot_be_written(sandbox):
    sandbox.pycache.write_text("")
    cache = sandbox.folder / "xdg"
    for variables, folder in (({"XDG_CACHE_HOME": str(cache)}, cache), ({}, sandbox.home / ".cache")):
        assert_compiled(sandbox.run(flags=["-B"], **variables), faulty=False)
        assert any(folder / "softmax_clf" in path.parents for path in sandbox.files)
        assert_loaded(sandbox.run(flags=["-B"], **variables))


def test_relative_folders_are_not_made(sandbox):
    """A relative XDG_CACHE_HOME is void, and so is a home that nobody knows."""
    sandbox.pycache.write_text("")
    assert_compiled(sandbox.run(flags=["-B"], XDG_CACHE_HOME="relative"), faulty=False)
    assert not (sandbox.folder / "relative").exists()
    assert all(sandbox.home in path.parents for path in sandbox.files)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners of files")
@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_folder_that_others_can_write_is_not_read(warm, mode):
    """Neither all, nor a group."""
    warm.pycache.chmod(mode)
    report = warm.run()
    assert_compiled(report, faulty=False)
    assert any(warm.home in path.parents for path in warm.files)
    assert_loaded(warm.run())


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners of files")
@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_file_that_others_can_write_is_not_read(warm, mode):
    for path in warm.files:
        assert not path.stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP)
        path.chmod(mode)
    assert_compiled(warm.run(), faulty=False)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["folder", "files"])
def test_what_another_user_owns_is_not_read(warm, what):
    for path in [warm.pycache] if what == "folder" else warm.files:
        os.chown(path, 12345, 12345)
    before = """
    import types, pickle, softmax_clf.kernels.jit as j
    def loads(payload):
        raise SystemExit("unpickled")
    j.pickle = types.SimpleNamespace(loads=loads)
    """
    assert_compiled(warm.run(before=before), faulty=False)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_what_root_owns_is_read(warm):
    """As kernels that were compiled when an image was made, for a user who owns the package."""
    for path in warm.folder.rglob("*"):
        if path.suffix == ".py":
            os.chown(path, 12345, 12345)
    before = """
    import os
    os.geteuid = lambda: 12345
    """
    assert_loaded(warm.run(before=before))


def test_folder_that_is_chosen_in_code(sandbox):
    chosen = sandbox.folder / "chosen"
    before = f"""
    import numba
    numba.config.CACHE_DIR = {str(chosen)!r}
    """
    other = str(sandbox.folder / "other")
    for variables in ({}, {"NUMBA_CACHE_DIR": other}):  # that of the environment is where this one began
        report = sandbox.run(before=before, **variables)
        assert Path(report["state"]["folder"]).parent == chosen
    assert_loaded(report)
    assert all(chosen in path.parents for path in sandbox.files)


def zipped(sandbox):
    archive = sandbox.folder / "application.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (sandbox.module, *sandbox.kernels.parent.rglob("*.py")):
            file.write(path, path.relative_to(sandbox.folder))
    return {"PYTHONPATH": str(archive)}, ""


def without_sources(sandbox):
    compileall.compile_dir(sandbox.folder, quiet=2, legacy=True)
    moved = sandbox.folder / "installed"  # elsewhere than the code says
    for path in [*sandbox.folder.rglob("*.pyc")]:
        place = moved / path.relative_to(sandbox.folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    return {"PYTHONPATH": str(moved)}, ""


def frozen(sandbox):
    """As an application in one file, which is unpacked to another folder each time: its modules are in no folder."""
    names = ["softmax_clf", "softmax_clf.kernels", "softmax_clf.kernels.jit", "temporary_kernels"]
    paths = [sandbox.kernels.parent / "__init__.py", sandbox.kernels / "__init__.py", sandbox.kernels / "jit.py"]
    sources = dict(zip(names, [path.read_text() for path in (*paths, sandbox.module)], strict=True))
    before = f"""
    import importlib.abc, importlib.util, os, sys, uuid, numba
    sys.frozen, unpacked = True, f"/nowhere/{{uuid.uuid4()}}"
    class Importer(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
        sources = {sources!r}
        def find_spec(self, name, path=None, target=None):
            if name in self.sources:
                origin = os.path.join(unpacked, *name.split(".")) + ".pyc"
                package = name in ("softmax_clf", "softmax_clf.kernels")
                return importlib.util.spec_from_file_location(
                    name, origin, loader=self, submodule_search_locations=[] if package else None
                )
        def get_source(self, name):
            return self.sources[name]
    sys.meta_path.insert(0, Importer())
    """
    return {"PYTHONPATH": ""}, before


@pytest.mark.parametrize("packed", [zipped, without_sources, frozen], ids=lambda f: f.__name__)
def test_packages_that_are_no_folders_of_sources(sandbox, packed):
    variables, before = packed(sandbox)
    sandbox.module.unlink()
    shutil.rmtree(sandbox.kernels.parent)
    assert_compiled(sandbox.run(before=before, **variables), faulty=False)
    report = sandbox.run(before=before, **variables)
    assert_loaded(report)
    assert report["state"]["writable"]
    assert len(sandbox.files) == 2
    # and where nobody can be asked for a home
    report = sandbox.run(before=before, **variables, NUMBA_CACHE_DIR=str(sandbox.folder / "chosen"))
    assert_compiled(report, faulty=False)


def test_cache_state(warm):
    state = warm.run(results="[temporary_kernels.double(5.0)]", NUMBA_CACHE_DIR=str(warm.folder / "other"))["state"]
    assert Path(state["folder"]).parent == warm.folder / "other"
    assert state["writable"] is True
    assert state["last_fault"] is None
    here = cache_state()
    assert set(here) == {"folder", "writable", "files", "bytes", "loads", "misses", "faults", "last_fault"}
    assert here["files"] >= 0
    assert here["bytes"] >= 0


def test_state_where_nothing_can_be_written(sandbox):
    (sandbox.folder / "file").write_text("")
    report = sandbox.run(NUMBA_CACHE_DIR=str(sandbox.folder / "file"))
    assert_compiled(report, faulty=True)
    assert report["state"]["writable"] is False
    assert "Error" in report["state"]["last_fault"]


def test_numba_can_print_its_statistics():
    kernel = jit(lambda x: x)
    kernel(1)
    assert isinstance(kernel.stats, tuple)
    assert numba.extending.is_jitted(kernel)
