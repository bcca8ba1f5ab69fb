"""CIFAR-10 in both official layouts, from small files of our own, and a download from a server of our own."""

import contextlib
import hashlib
import http.server
import os
import pickle
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from softmax_clf.datasets import cifar10 as datasets
from softmax_clf.datasets import fetch_cifar10, load_cifar10

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
N_ROWS = 4


def make_batches():
    """{name: (pixels (4, 3072) uint8, labels)}; no two images are alike."""
    rng = np.random.default_rng(0)
    return {
        name: (rng.integers(0, 256, (N_ROWS, 3072), dtype=np.uint8), [int(k) for k in rng.integers(0, 10, N_ROWS)])
        for name in BATCHES
    }


def pickle_as_python_2(value):
    """What Python 2 and the numpy of its time wrote: protocol 2, and its str where we have bytes."""
    if isinstance(value, dict):
        body = b"".join(pickle_as_python_2(key) + pickle_as_python_2(item) for key, item in value.items())
        return b"}(" + body + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(pickle_as_python_2, value)) + b"e"
    if isinstance(value, int):
        return b"J" + value.to_bytes(4, "little", signed=True)
    if isinstance(value, str):
        return b"T" + len(value).to_bytes(4, "little") + value.encode()
    assert isinstance(value, np.ndarray)
    assert value.dtype == np.uint8
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"(" + b"".join(map(pickle_as_python_2, value.shape)) + b"t"
    raw = b"T" + value.nbytes.to_bytes(4, "little") + value.tobytes()
    return array + b"(K\x01" + shape + dtype + b"\x89" + raw + b"tb"


def dumps(value, protocol):
    if protocol == "python 2":
        return b"\x80\x02" + pickle_as_python_2(value) + b"."
    return pickle.dumps(value, protocol=protocol)


def write_python(folder, protocol="python 2"):
    folder.mkdir()
    meta = {"num_cases_per_batch": N_ROWS, "label_names": NAMES, "num_vis": 3072}
    (folder / "batches.meta").write_bytes(dumps(meta, protocol))
    for name, (pixels, labels) in make_batches().items():
        batch = {"batch_label": name, "labels": labels, "data": pixels, "filenames": ["a.png"] * N_ROWS}
        (folder / name).write_bytes(dumps(batch, protocol))
    return folder


def write_binary(folder):
    folder.mkdir()
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    for name, (pixels, labels) in make_batches().items():
        records = np.hstack([np.array(labels, np.uint8)[:, None], pixels])
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder


def write_archive(folder, path):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    return path


@pytest.fixture(params=["py", "bin"])
def folder(request, tmp_path):
    write = write_python if request.param == "py" else write_binary
    return write(tmp_path / f"cifar-10-batches-{request.param}")


def check(data):
    batches = make_batches()
    np.testing.assert_array_equal(data.X_train, np.vstack([batches[name][0] for name in BATCHES[:5]]))
    np.testing.assert_array_equal(data.y_train, np.hstack([batches[name][1] for name in BATCHES[:5]]))
    np.testing.assert_array_equal(data.X_test, batches["test_batch"][0])
    np.testing.assert_array_equal(data.y_test, batches["test_batch"][1])
    assert data.X_train.dtype == data.X_test.dtype == np.uint8
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    assert data.target_names == NAMES
    assert data.image_shape == (32, 32, 3)


# ----------------------------------------------------------------------------------------------------------- loading


def test_directory_its_parent_and_archive(folder, tmp_path):
    check(load_cifar10(folder))
    check(load_cifar10(str(folder)))
    check(load_cifar10(tmp_path))
    check(load_cifar10(write_archive(folder, tmp_path / "any.tar.gz")))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_python_3(tmp_path, protocol):
    check(load_cifar10(write_python(tmp_path / "cifar-10-batches-py", protocol)))


def test_test_images_are_mapped_in_the_binary_layout(tmp_path):
    data = load_cifar10(write_binary(tmp_path / "cifar-10-batches-bin"))
    assert isinstance(data.X_test, np.memmap)
    assert not data.X_test.flags.writeable


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Expected the directory cifar-10-batches-py.*no CIFAR-10 in"):
        load_cifar10(tmp_path)
    with pytest.raises(FileNotFoundError, match="no CIFAR-10 in"):
        load_cifar10(tmp_path / "nowhere")


def test_missing_file_is_named(folder):
    victim = next(folder.glob("data_batch_3*"))
    victim.unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {victim.name}"):
        load_cifar10(folder)


@pytest.mark.parametrize("n_bytes", [0, 1, 100, 3073, -1, -3073])
def test_truncated_batch(folder, n_bytes):
    victim = next(folder.glob("data_batch_3*"))
    content = victim.read_bytes()
    victim.write_bytes(content[:n_bytes])
    with pytest.raises(ValueError, match=f"(?s)cannot read CIFAR-10 from .*{victim.name}.*Remedy"):
        load_cifar10(folder)


def test_truncated_archive(folder, tmp_path):
    archive = write_archive(folder, tmp_path / "cifar.tar.gz")
    content = archive.read_bytes()
    for size in (len(content) // 2, 100, 0):
        archive.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"cannot read CIFAR-10 from .*Remedy"):
            load_cifar10(archive)


def test_damaged_archive(folder, tmp_path):
    # bytes depend on the time: what is found to be wrong may be a checksum, a header, or files that are not there
    archive = write_archive(folder, tmp_path / "cifar.tar.gz")
    content = bytearray(archive.read_bytes())
    content[len(content) // 2 :: 100] = b"\0" * len(content[len(content) // 2 :: 100])
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=r"CIFAR-10(.|\n)*Remedy"):
        load_cifar10(archive)


def test_archive_of_something_else(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "test_batch").write_text("")
    with pytest.raises(ValueError, match=r"is not a CIFAR-10 archive: .* found test_batch"):
        load_cifar10(write_archive(tmp_path / "other", tmp_path / "other.tar.gz"))


def test_archive_of_huge_files(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "_MAX_FILE_SIZE", 1000)
    archive = write_archive(write_binary(tmp_path / "cifar-10-batches-bin"), tmp_path / "cifar.tar.gz")
    with pytest.raises(ValueError, match="more than any file of CIFAR-10"):
        load_cifar10(archive)


def test_label_out_of_range(tmp_path):
    binary = write_binary(tmp_path / "cifar-10-batches-bin")
    content = bytearray((binary / "test_batch.bin").read_bytes())
    content[3073] = 10
    (binary / "test_batch.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"test_batch has labels from . to 10, expected 0 to 9"):
        load_cifar10(binary)
    python = write_python(tmp_path / "cifar-10-batches-py")
    pixels = np.zeros((N_ROWS, 3072), np.uint8)
    (python / "data_batch_1").write_bytes(dumps({"labels": [0, 1, -1, 2], "data": pixels}, "python 2"))
    with pytest.raises(ValueError, match="data_batch_1 has labels from -1 to 2"):
        load_cifar10(python)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": np.zeros((N_ROWS, 3000), np.uint8)}, r"expected 4 labels and shape \(4, 3072\)"),
        ({"data": np.zeros((N_ROWS, 3072), np.float32)}, "pixels of dtype float32, expected uint8"),
        ({"data": [1, 2]}, "expected 'data' to be of type ndarray, got list"),
        ({"labels": [1, 2, 3]}, "has 3 labels"),
        ({"labels": [1, 2, 3, 0.5]}, "labels must be a list of integers"),
        ({"labels": None}, "expected 'labels' to be of type list, got NoneType"),
    ],
)
def test_wrong_contents(tmp_path, change, message):
    folder = write_python(tmp_path / "cifar-10-batches-py")
    batch = {"labels": [0] * N_ROWS, "data": np.zeros((N_ROWS, 3072), np.uint8), **change}
    (folder / "data_batch_2").write_bytes(pickle.dumps(batch))
    with pytest.raises(ValueError, match=message):
        load_cifar10(folder)


def test_wrong_names(folder):
    if folder.name.endswith("py"):
        meta = {"label_names": NAMES[:9], "num_cases_per_batch": N_ROWS}
        (folder / "batches.meta").write_bytes(pickle.dumps(meta))
    else:
        (folder / "batches.meta.txt").write_text("\n".join(NAMES[:9]))
    with pytest.raises(ValueError, match="expected the names of 10 classes"):
        load_cifar10(folder)


# ---------------------------------------------------------------------------------------------------- unsafe pickles


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "value",
    [
        Runs(os.mkdir, "was_run"),
        Runs(eval, "open('was_run', 'w')"),
        Runs(getattr, np.ndarray, "tofile"),
        np.array([Runs(os.mkdir, "was_run")], dtype=object),
        np.zeros(2, dtype=[("a", np.uint8)]),
        np.uint8(1),
        Path("was_run"),
    ],
    ids=["mkdir", "eval", "getattr", "objects", "records", "scalar", "path"],
)
def test_pickles_run_nothing(tmp_path, monkeypatch, value, protocol):
    monkeypatch.chdir(tmp_path)
    folder = write_python(tmp_path / "cifar-10-batches-py")
    (folder / "data_batch_1").write_bytes(pickle.dumps({"labels": value, "data": value}, protocol=protocol))
    with pytest.raises(ValueError, match="data_batch_1 cannot be unpickled"):
        load_cifar10(folder)
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\x0f", b"p268435455\n"])
def test_pickles_take_no_memory_by_number(tmp_path, put):
    """A fuzzer's: python's own unpickler makes room for as many values as the number says, here 4 GB."""
    folder = write_python(tmp_path / "cifar-10-batches-py")
    (folder / "data_batch_1").write_bytes(b"\x80\x02}" + put + b".")
    with pytest.raises(ValueError, match="as number 268435455 in a file of"):
        load_cifar10(folder)


def test_pickle_of_no_dictionary(tmp_path):
    folder = write_python(tmp_path / "cifar-10-batches-py")
    (folder / "batches.meta").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match=r"batches.meta holds a list, expected a dictionary"):
        load_cifar10(folder)


# ------------------------------------------------------------------------------------------------------- downloading


class Server(http.server.ThreadingHTTPServer):
    """Serves one file; counts requests, and breaks off after ``limit`` bytes of the file."""

    content = b""
    limit = None
    ranges = True

    def __init__(self):
        self.asked = []  # Range headers
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        content = self.server.content
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.server.limit])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    archive = write_archive(
        write_python(tmp_path / "source" / "cifar-10-batches-py"), tmp_path / "source" / "it.tar.gz"
    )
    with Server() as server:
        server.content = archive.read_bytes()
        monkeypatch.setattr(datasets, "_URL", f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz")
        monkeypatch.setattr(datasets, "_MD5", hashlib.md5(server.content, usedforsecurity=False).hexdigest())
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def test_fetch_once(server, home, capsys):
    check(fetch_cifar10(home))
    size = len(server.content) / 1e6
    assert f"CIFAR-10: {size:.1f} of {size:.1f} MB\n" in capsys.readouterr().err
    check(fetch_cifar10(str(home), verbose=0))
    assert server.asked == [None]
    assert os.listdir(home) == ["cifar-10-batches-py"]
    assert sorted(os.listdir(home / "cifar-10-batches-py")) == ["batches.meta", *BATCHES]
    assert capsys.readouterr().err == ""


def test_fetch_to_scikit_learns_folder(server, home, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(home))
    check(fetch_cifar10(verbose=0))
    assert (home / "cifar-10-batches-py").is_dir()


def test_fetch_resumes(server, home):
    server.limit = 1000
    with pytest.raises(OSError, match=r"the connection ended after 1000 of \d+ bytes.*Remedy: call again"):
        fetch_cifar10(home, verbose=0)
    assert os.listdir(home) == ["cifar-10-python.tar.gz.part"]
    server.limit = None
    check(fetch_cifar10(home, verbose=0))
    assert server.asked == [None, "bytes=1000-"]
    assert os.listdir(home) == ["cifar-10-batches-py"]


def test_fetch_from_a_server_that_cannot_resume(server, home):
    server.limit = 1000
    with pytest.raises(OSError, match="connection ended"):
        fetch_cifar10(home, verbose=0)
    server.limit, server.ranges = None, False
    check(fetch_cifar10(home, verbose=0))


def test_fetch_goes_on_from_a_complete_download(server, home):
    home.mkdir()
    (home / "cifar-10-python.tar.gz.part").write_bytes(server.content)
    check(fetch_cifar10(home, verbose=0))


def test_fetch_verifies(server, home):
    home.mkdir()
    (home / "cifar-10-python.tar.gz.part").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"has md5 \w+, expected \w+. Remedy: call again"):
        fetch_cifar10(home, verbose=0)
    assert os.listdir(home) == []
    check(fetch_cifar10(home, verbose=0))


def test_fetch_takes_an_archive_that_was_put_there(server, home):
    home.mkdir()
    archive = home / "cifar-10-python.tar.gz"
    archive.write_bytes(server.content)
    check(fetch_cifar10(home, verbose=0))
    assert server.asked == []
    assert archive.exists()  # it is not ours


def test_fetch_refuses_another_archive_that_was_put_there(server, home):
    home.mkdir()
    archive = home / "cifar-10-python.tar.gz"
    archive.write_bytes(b"something else")
    with pytest.raises(ValueError, match="Remedy: remove it"):
        fetch_cifar10(home, verbose=0)
    assert archive.exists()


def test_fetch_without_a_network(home, monkeypatch):
    monkeypatch.setattr(datasets, "_URL", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(OSError, match=r"cannot download .* put it to .*home.cifar-10-python.tar.gz, or give its path"):
        fetch_cifar10(home, verbose=0)


@pytest.mark.parametrize("limit", [None, 500], ids=["the other is faster", "the other is broken off"])
@pytest.mark.parametrize("ranges", [True, False])
def test_two_fetch_at_once(server, home, monkeypatch, limit, ranges):
    """Another begins, and ends or not, while the first is under way."""
    home.mkdir()
    (home / "cifar-10-python.tar.gz.part").write_bytes(server.content[:100])
    monkeypatch.setattr(datasets, "_CHUNK", 1000)
    calls = []

    def show(*_):
        calls.append(1)
        if len(calls) == 3:
            server.limit, server.ranges = limit, ranges
            with contextlib.suppress(OSError):
                check(fetch_cifar10(home, verbose=0))

    monkeypatch.setattr(datasets, "_show", show)
    check(fetch_cifar10(home, verbose=0))
    assert len(server.asked) == 2
    assert os.listdir(home) == ["cifar-10-batches-py"]


def test_unpacking_is_all_or_nothing(server, home, monkeypatch):
    monkeypatch.setattr(datasets.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        fetch_cifar10(home, verbose=0)
    assert os.listdir(home) == ["cifar-10-python.tar.gz.part"]  # no folder, and no second download
