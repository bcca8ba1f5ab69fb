"""CIFAR-10 (A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009), read and fetched.

Its home is https://www.cs.toronto.edu/~kriz/cifar.html, in two layouts: Python pickles and binary records.
"""

import contextlib
import hashlib
import io
import os
import pickle
import pickletools
import shutil
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

__all__ = ["fetch_cifar10", "load_cifar10"]

_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
_MD5 = "c58f30108f718f92721af3b95e74349a"  # published on the page above
_ARCHIVE = "cifar-10-python.tar.gz"

_PYTHON = "cifar-10-batches-py"
_BINARY = "cifar-10-batches-bin"
_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = "test_batch"
_FILES = {
    _BINARY: ("batches.meta.txt", *(f"{name}.bin" for name in (*_TRAIN, _TEST))),
    _PYTHON: ("batches.meta", *_TRAIN, _TEST),
}
_N_PIXELS = 3 * 32 * 32
_N_CLASSES = 10
_MAX_FILE_SIZE = 2**26  # bytes; the largest of the official files has 31 MB

_CHUNK = 2**16  # bytes read from the network at a time
_TIMEOUT = 60  # seconds of silence after which a download counts as broken


def load_cifar10(path):
    """Load CIFAR-10 from disk: 50,000 training and 10,000 test images of 32 x 32 pixels in ten classes.

    Parameters
    ----------
    path : str or path-like
        The directory ``cifar-10-batches-py`` or ``cifar-10-batches-bin``, or the one in which it lies, or the
        archive ``cifar-10-python.tar.gz`` or ``cifar-10-binary.tar.gz``, which is read without being unpacked.

    Returns
    -------
    data : :class:`sklearn.utils.Bunch`
        X_train : ndarray of shape (50000, 3072), uint8
            Pixels from 0 to 255, as stored: the red plane of 32 rows, then the green one, then the blue one.
            ``X.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)`` makes images to show; the transformers of
            :mod:`softmax_clf.features` take ``image_shape=(32, 32, 3), channels_first=True``.
        y_train : ndarray of shape (50000,), int64
            Labels from 0 to 9.
        X_test : ndarray of shape (10000, 3072), uint8
            Read-only; a memory map where the binary layout is read from a directory. (The training images lie
            in five files, which cannot be mapped as one array.)
        y_test : ndarray of shape (10000,), int64
            Their labels.
        target_names : list of 10 str
            Names of the classes, in the order of the labels.
        image_shape : tuple (32, 32, 3)
            Height, width and channels.

    Raises
    ------
    FileNotFoundError
        If the files are not there.
    ValueError
        If a file is truncated, has another layout than it should, or holds labels out of range. All batches must
        have as many rows: as many as the metadata say in the Python layout.

    Notes
    -----
    Pickles can run code when they are loaded. These are read by an unpickler that makes numeric arrays, lists,
    dictionaries, strings and numbers, and refuses anything else.
    """
    path = Path(path).expanduser()
    layout, files = _read_archive(path) if path.is_file() else _find_files(path)
    with _explained(path):
        read = _read_binary if layout == _BINARY else _read_python
        names, batches = read(files)
        for name, (pixels, labels) in batches.items():
            _check_batch(name, pixels, labels)
    train = [batches[name] for name in _TRAIN]
    X_test, y_test = batches[_TEST]
    return Bunch(
        X_train=np.concatenate([pixels for pixels, _ in train]),
        y_train=np.concatenate([labels for _, labels in train]).astype(np.int64),
        X_test=X_test,
        y_test=y_test.astype(np.int64),
        target_names=names,
        image_shape=(32, 32, 3),
    )


def fetch_cifar10(data_home=None, *, verbose=1):
    """Load CIFAR-10, from the official address at the first call and from disk ever after.

    Downloads 170 MB, verifies the published checksum, and unpacks to ``cifar-10-batches-py``. A download that
    was interrupted is resumed by the next call.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Where to keep the data; by default scikit-learn's folder, see :func:`sklearn.datasets.get_data_home`.
    verbose : int, default=1
        Whether to show on stderr how far the download is.

    Returns
    -------
    data : :class:`sklearn.utils.Bunch`
        As from :func:`load_cifar10`.

    Raises
    ------
    OSError
        If the download fails; the message says what to do without a network.
    ValueError
        If what was downloaded does not have the published checksum.
    """
    home = Path(get_data_home(data_home))
    folder = home / _PYTHON
    if not folder.is_dir():
        archive = home / _ARCHIVE
        if archive.exists():  # someone put it there
            _verify(archive, "remove it")
            _unpack(archive, folder)
        else:
            part = archive.with_name(archive.name + ".part")
            try:
                _download(part, archive, verbose)
                try:
                    _verify(part, "call again to download it anew")
                except ValueError:
                    part.unlink(missing_ok=True)
                    raise
                _unpack(part, folder)
                part.unlink(missing_ok=True)
            except (OSError, ValueError):
                if not folder.is_dir():  # unless another process was faster, and has taken the part away
                    raise
    return load_cifar10(folder)


# ------------------------------------------------------------------------------------------------ finding files


def _find_files(path):
    """Return the layout and the files of a directory, or of the one in it: {name: path}."""
    for layout, names in _FILES.items():
        for folder in (path, path / layout):
            # A single one of them tells the layout, so that a missing file is named and not the whole set.
            if any((folder / name).is_file() for name in names):
                missing = [name for name in names if not (folder / name).is_file()]
                if missing:
                    raise FileNotFoundError(
                        f"{folder} lacks {', '.join(missing)}. Remedy: unpack CIFAR-10 there once more."
                    )
                return layout, {name: folder / name for name in names}
    raise FileNotFoundError(
        f"Expected the directory {_PYTHON} or {_BINARY}, the one in which it lies, or the .tar.gz, but there is no "
        f"CIFAR-10 in {path}. Remedy: fetch_cifar10() downloads it."
    )


def _read_archive(path):
    """Return the layout and the files in a .tar.gz: {name: bytes}."""
    files = {}
    expected = {name for names in _FILES.values() for name in names}
    with _explained(path), tarfile.open(path, "r:gz") as archive:
        for member in archive:
            name = member.name.rpartition("/")[2]
            if member.isfile() and name in expected:
                if member.size > _MAX_FILE_SIZE:
                    raise ValueError(f"{name} has {member.size} bytes, more than any file of CIFAR-10 does")
                files[name] = archive.extractfile(member).read()
    for layout, names in _FILES.items():
        if set(names) <= set(files):
            return layout, {name: files[name] for name in names}
    raise ValueError(
        f"{path} is not a CIFAR-10 archive: expected the files {', '.join(_FILES[_PYTHON])}, "
        f"or those of the binary layout; found {', '.join(sorted(files)) or 'none of them'}. Remedy: download it again"
    )


@contextlib.contextmanager
def _explained(path):
    """Say which data are at fault, and what to do, when reading them fails."""
    try:
        yield
    except (ValueError, EOFError, tarfile.TarError, zlib.error, OSError) as error:
        if isinstance(error, (FileNotFoundError, PermissionError)):
            raise
        raise ValueError(
            f"cannot read CIFAR-10 from {path}: {error}. Remedy: download it once more, the file may be truncated"
        ) from error


# --------------------------------------------------------------------------------------------- the two layouts


def _read_binary(files):
    """Return class names and {batch: (pixels, labels)} of records of a label byte and 3072 pixel bytes."""
    meta = files["batches.meta.txt"]
    names = (meta if isinstance(meta, bytes) else meta.read_bytes()).decode().split()
    _check_names(names)
    record = 1 + _N_PIXELS
    batches = {}
    for name in (*_TRAIN, _TEST):
        file = files[f"{name}.bin"]
        size = len(file) if isinstance(file, bytes) else file.stat().st_size
        if size == 0 or size % record:
            raise ValueError(f"{name}.bin has {size} bytes, expected whole records of {record} bytes")
        data = np.frombuffer(file, np.uint8) if isinstance(file, bytes) else np.memmap(file, np.uint8, mode="r")
        data = data.reshape(-1, record)
        batches[name] = data[:, 1:], np.asarray(data[:, 0])
    # The layout does not say how many records there should be, but that all files have as many.
    n_rows = max(len(labels) for _, labels in batches.values())
    for name, (_, labels) in batches.items():
        if len(labels) != n_rows:
            raise ValueError(f"{name}.bin has {len(labels)} records, expected {n_rows} as in the other batches")
    return names, batches


def _read_python(files):
    """Return class names and {batch: (pixels, labels)} of pickled dictionaries."""
    meta = _unpickle("batches.meta", files)
    names = [name.decode() if isinstance(name, bytes) else name for name in _entry(meta, "label_names", list)]
    _check_names(names)
    n_rows = _entry(meta, "num_cases_per_batch", int)
    batches = {}
    for name in (*_TRAIN, _TEST):
        batch = _unpickle(name, files)
        labels = np.asarray(_entry(batch, "labels", list))
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(f"{name}: labels must be a list of integers")
        pixels = _entry(batch, "data", np.ndarray)
        if pixels.shape != (n_rows, _N_PIXELS) or len(labels) != n_rows:
            raise ValueError(
                f"{name} has {len(labels)} labels and pixels of shape {pixels.shape}, expected {n_rows} labels and "
                f"shape {(n_rows, _N_PIXELS)}"
            )
        batches[name] = pixels, labels
    return names, batches


def _entry(batch, key, kind):
    value = batch.get(key.encode(), batch.get(key))  # written by Python 2: bytes; by Python 3: either
    value = value.array if isinstance(value, _Array) else value
    if not isinstance(value, kind):
        raise ValueError(f"expected {key!r} to be of type {kind.__name__}, got {type(value).__name__}")
    return value


def _check_names(names):
    if len(names) != _N_CLASSES or not all(isinstance(name, str) for name in names):
        raise ValueError(f"expected the names of {_N_CLASSES} classes, got {names!r}")


def _check_batch(name, pixels, labels):
    if pixels.dtype != np.uint8:
        raise ValueError(f"{name} has pixels of dtype {pixels.dtype}, expected uint8")
    if labels.min() < 0 or labels.max() >= _N_CLASSES:
        raise ValueError(f"{name} has labels from {labels.min()} to {labels.max()}, expected 0 to {_N_CLASSES - 1}")


# ------------------------------------------------------------------------------------------------ safe pickles


class _DataUnpickler(pickle.Unpickler):
    """Makes arrays of numbers, beside what pickles can hold without looking anything up by name."""

    def find_class(self, module, name):
        allowed = _ALLOWED.get((module.replace("numpy._core", "numpy.core"), name))
        if allowed is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}; only arrays, lists, strings, numbers are read")
        return allowed


class _Dtype:
    """Stands for numpy.dtype in a pickle."""

    def __init__(self, code, *flags):
        self.dtype = np.dtype(code.decode() if isinstance(code, bytes) else code)
        if self.dtype.kind not in "biuf":
            raise pickle.UnpicklingError(f"an array is of dtype {self.dtype}; only numbers are read")

    def __setstate__(self, state):
        order = state[1]
        self.dtype = self.dtype.newbyteorder(order.decode() if isinstance(order, bytes) else order)


class _Array:
    """Stands for a numpy array in a pickle: numpy's own way to set the state is not made for untrusted ones."""

    array = np.empty(0, np.uint8)

    def __init__(self, *unused):  # a subtype, shape and type code that numpy overrides by the state
        pass

    def __setstate__(self, state):
        _, shape, dtype, fortran, raw = state
        self.array = np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if fortran else "C")


def _array_of_buffer(buffer, dtype, shape, order):
    """Do as numpy._core.numeric._frombuffer, which pickles of protocol 5 call."""
    array = _Array()
    array.__setstate__((None, shape, dtype, order == "F", buffer))
    return array


def _bytes_of_text(text, encoding):
    """Do as _codecs.encode, by which Python 3 writes bytes in the protocol of Python 2."""
    if encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"bytes are encoded as {encoding!r}")
    return text.encode("latin1") if isinstance(text, str) else text.decode().encode("latin1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _array_of_buffer,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _bytes_of_text,
}


def _check_memo(stream):
    """Refuse a pickle that numbers what it remembers beyond its length: memory is taken up to that number."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > size:
            raise pickle.UnpicklingError(f"it remembers a value as number {argument} in a file of {size} bytes")
    stream.seek(0)


def _unpickle(name, files):
    """Read a dictionary from a pickle of Python 2 or 3."""
    file = files[name]
    with io.BytesIO(file) if isinstance(file, bytes) else open(file, "rb") as stream:
        try:
            _check_memo(stream)
            value = _DataUnpickler(stream, encoding="bytes").load()
        except Exception as error:  # damaged pickles raise nearly anything
            raise ValueError(f"{name} cannot be unpickled: {error or type(error).__name__}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name} holds a {type(value).__name__}, expected a dictionary")
    return value


# -------------------------------------------------------------------------------------------------- downloading


def _download(part, archive, verbose):
    """Download to ``part``, going on where an earlier call stopped; ``archive`` is for the error message."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(_URL, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            resumes = response.status == 206
            if resumes and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise OSError(f"asked for bytes from {have}, got {response.headers.get('Content-Range')!r}")
            have = have if resumes else 0
            length = response.headers.get("Content-Length")
            total = have + int(length) if length else None
            part.touch()
            # Another process may be writing the same bytes to the same places: never appended, never cut short, the
            # file is a beginning of the archive at any moment.
            with open(part, "r+b") as file:
                file.seek(have)
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    _show(have, total, verbose)
        if total is not None and have < total:
            raise OSError(f"the connection ended after {have} of {total} bytes")
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing is left to download; the checksum tells whether that is so
            raise OSError(_without_network(error, archive)) from error
    except (OSError, HTTPException) as error:
        raise OSError(_without_network(error, archive)) from error


def _without_network(error, archive):
    return (
        f"cannot download {_URL}: {error}. Remedy: call again, and the download goes on where it stopped; without a "
        f"network here, download it elsewhere and put it to {archive}, or give its path to load_cifar10"
    )


def _show(have, total, verbose):
    if not verbose:
        return
    # One line that is written over, once for each percent, and ended when complete.
    step = max((total or 2**28) // 100, _CHUNK)
    if have == total or have // step != (have - _CHUNK) // step:
        of = f" of {total / 1e6:.1f}" if total else ""
        print(f"\rCIFAR-10: {have / 1e6:.1f}{of} MB", end="\n" if have == total else "", file=sys.stderr, flush=True)


def _verify(archive, remedy):
    digest = hashlib.md5(usedforsecurity=False)
    with open(archive, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    if digest.hexdigest() != _MD5:
        raise ValueError(f"{archive} has md5 {digest.hexdigest()}, expected {_MD5}. Remedy: {remedy}")


def _unpack(archive, folder):
    """Unpack the known files, and no others, to a folder that appears complete or not at all."""
    temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        temporary.chmod(0o755)  # mkdtemp's folders are for their owner only
        _, files = _read_archive(archive)
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        try:
            os.replace(temporary, folder)
        except OSError:
            if not folder.is_dir():  # unless another process was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
