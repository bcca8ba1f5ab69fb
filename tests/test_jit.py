"""The decorator for kernels: its flags, and a cache whose faults are never more than a compilation."""

import inspect
import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import numba
import pytest

from softmax_clf.kernels import jit as jit_module
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
    """A folder with the module above, and processes that use it with a home of their own."""

    def __init__(self, folder):
        self.folder = folder
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
        done = subprocess.run(
            self.command(results, before, flags),
            cwd=self.folder,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A folder whose kernel is in the cache, to be copied."""
    sandbox = Sandbox(tmp_path_factory.mktemp("compiled"))
    report = sandbox.run()
    assert_compiled(report, faulty=False)
    assert len(sandbox.files) == 2
    return sandbox.folder


@pytest.fixture
def warm(compiled, tmp_path):
    """A sandbox whose kernel is in the cache."""
    return Sandbox(shutil.copytree(compiled, tmp_path / "warm"))


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
    kernel = jit(lambda x: x)
    assert isinstance(kernel._cache, jit_module._KernelCache)
    assert kernel.targetoptions
    assert kernel.py_func(1) == 1


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


def test_all_kernel_sources_are_in_the_key():
    names = {name for name, _ in jit_module._kernels_digest()}
    assert {path.name for path in (ROOT / "softmax_clf" / "kernels").glob("*.py")} <= names


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
def test_folder_that_all_can_write_is_not_read(warm):
    warm.pycache.chmod(0o777)
    report = warm.run()
    assert_compiled(report, faulty=False)
    assert any(warm.home in path.parents for path in warm.files)
    assert_loaded(warm.run())


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners of files")
def test_file_that_all_can_write_is_not_read(warm):
    for path in warm.files:
        assert not path.stat().st_mode & (stat.S_IWOTH | stat.S_IWGRP)
        path.chmod(0o666)
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
