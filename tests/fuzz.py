"""A coverage-guided fuzzer over the readers of CIFAR-10 and the entry points of the classifier.

    pip install atheris
    python tests/fuzz.py readers -max_total_time=300 tests/corpus/readers
    python tests/fuzz.py fits -max_total_time=300 tests/corpus/fits

Options are libFuzzer's. tests/test_inputs.py tries what is kept in tests/corpus/ again, without the fuzzer.
"""

import io
import struct
import sys
import tarfile
import warnings
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")


def readers(data):
    """A file of either layout, the others being right, or an archive: the data, or a ValueError."""
    import test_datasets as parts  # what tests write

    from softmax_clf.datasets import cifar10

    kind, data = data[:1], data[1:]
    batches = parts.make_batches()
    try:
        if kind < b"\x40":  # a batch of pickles
            meta = {"num_cases_per_batch": parts.N_ROWS, "label_names": parts.NAMES}
            files = {name: parts.dumps({"labels": y, "data": X}, 4) for name, (X, y) in batches.items()}
            files |= {"batches.meta": parts.dumps(meta, 2), "data_batch_3": data}
            read = cifar10._read_python(files)
        elif kind < b"\x80":  # their metadata
            files = {name: parts.dumps({"labels": y, "data": X}, 4) for name, (X, y) in batches.items()}
            read = cifar10._read_python(files | {"batches.meta": data})
        elif kind < b"\xc0":
            files = {f"{name}.bin": data for name in batches} | {"batches.meta.txt": "\n".join(parts.NAMES).encode()}
            read = cifar10._read_binary(files)
        else:
            path = Path("/tmp/fuzz.tar.gz")
            path.write_bytes(data)
            cifar10._read_archive(path)
            return
        for name, (pixels, labels) in read[1].items():
            cifar10._check_batch(name, pixels, labels)
            assert pixels.shape == (len(labels), 3072)
    except ValueError:
        pass


def fits(data):
    """Bytes as numbers of some dtype, and what to do with them."""
    import inputs
    import numpy as np

    if len(data) < 8:
        return
    header, values = data[:8], data[8:]
    dtype = [*inputs.FLOATS, *inputs.INTEGERS][header[0] % 10]
    p, n_classes = 1 + header[1] % 9, 2 + header[2] % 3
    row = p * np.dtype(dtype).itemsize + 1
    n = min(len(values) // row, 30)
    if n < 2:
        return
    X = np.frombuffer(values[: n * (row - 1)], dtype if dtype is not bool else np.uint8).reshape(n, p)
    X = X > 127 if dtype is bool else X.copy()
    y = np.frombuffer(values[n * (row - 1) : n * row], np.uint8).astype(np.int64) % n_classes
    containers = sorted(inputs.DENSE) + sorted(inputs.SPARSE) * (X.dtype != np.float16)
    container = containers[header[3] % len(containers)]
    finite = bool(np.isfinite(X).all())
    parameters = {
        "C": [1e-6, 1.0, 1e6, np.inf][header[4] % 4],
        "fit_intercept": bool(header[4] & 16),
        "standardize": bool(header[4] & 32),
        "l1_ratio": [0.0, 0.0, 0.5, 1.0][header[5] % 4],
        "class_weight": None,
        "max_iter": 50,
        "n_jobs": 1,
    }
    with np.errstate(all="ignore"):
        inputs.check(
            (X, container, y, sorted(inputs.LABELS)[header[6] % 8], None, None if finite else "nan", parameters)
        )


TARGETS = {"readers": readers, "fits": fits}


def seeds():
    """Files to begin with, by target."""
    import numpy as np
    import test_datasets as parts

    X, y = parts.make_batches()["data_batch_3"]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("batches.meta"))
    meta = {"num_cases_per_batch": parts.N_ROWS, "label_names": parts.NAMES}
    small = {"labels": y, "data": X[:, :5]}
    found = {"readers": [bytes([0]) + parts.dumps(small, protocol) for protocol in ("python 2", 2, 4, 5)]}
    found["readers"] += [b"\x40" + parts.dumps(meta, protocol) for protocol in ("python 2", 4)]
    found["readers"] += [b"\x80" + bytes(3073), b"\xc0" + archive.getvalue()]
    numbers = np.random.default_rng(0).standard_normal(80)
    found["fits"] = [
        struct.pack("8B", k, 3, 1, k, 1, k % 4, k, 0) + numbers.astype(dtype).tobytes() + bytes(range(60))
        for k, dtype in enumerate((np.float16, np.float32, np.float64, np.uint8, np.int8))
    ]
    return found


if __name__ == "__main__":
    import atheris

    # what is compiled has no branches that could be counted, and does not compile with what counts them
    kernels = [f"softmax_clf.kernels.{path.stem}" for path in (CORPUS.parents[1] / "softmax_clf/kernels").glob("*.py")]
    with atheris.instrument_imports(include=["softmax_clf"], exclude=kernels):
        import softmax_clf.datasets.cifar10
        import softmax_clf.estimator  # noqa: F401
    name = sys.argv.pop(1)
    for folder in [argument for argument in sys.argv[1:] if not argument.startswith("-")]:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(seeds()[name]):
            (Path(folder) / f"seed-{number}").write_bytes(content)
    warnings.simplefilter("ignore")
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
