#!/usr/bin/env bash
# Tests on aarch64, on any machine: a Debian root of that architecture in a folder, and qemu-user to run it.
#
#     tests/aarch64.sh FOLDER [ARGUMENTS OF PYTEST]
#
# As root, with debootstrap and qemu-user-static installed. The folder is made at the first run, a gigabyte, and keeps
# the compiled kernels, which take most of the time; so of the problems of test_convergence.py there are two. The
# processor is a Cortex-A72: OpenBLAS has wrong products with what qemu 7.2 takes for SME. Programs of that architecture
# cannot start others without help of the kernel, so tests that start processes are left out.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=$(realpath -m "$1")
shift
qemu=$(command -v qemu-aarch64-static)

if [ ! -e "$root/site" ]; then
    debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,libgomp1 bookworm "$root"
    for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
    cp "$qemu" "$root/usr/bin/"
    platforms=()
    for glibc in 17 26 27 28 31 34; do platforms+=(--platform "manylinux_2_${glibc}_aarch64"); done
    python3 -m pip install --quiet --target "$root/site.part" --only-binary=:all: --python-version 3.11 \
        "${platforms[@]}" --platform manylinux2014_aarch64 \
        joblib mpmath numba numpy scikit-learn scipy threadpoolctl pytest hypothesis pandas
    mv "$root/site.part" "$root/site"
fi

rm -rf "$root/src" && mkdir "$root/src"
cp -r "$here/softmax_clf" "$here/tests" "$here/pyproject.toml" "$root/src/"
mountpoint -q "$root/proc" || mount --bind /proc "$root/proc"
mountpoint -q "$root/dev" || mount --bind /dev "$root/dev"
trap 'umount "$root/proc" "$root/dev"' EXIT

selection=("$@")
if [ ${#selection[@]} = 0 ]; then
    selection=(tests/test_kernels.py tests/test_csr.py tests/test_gram.py tests/test_numerics.py tests/test_convergence.py
        -k "not 32_bytes and not linux and (not convergence or iris or wide)")
fi
env -i PATH=/usr/sbin:/usr/bin:/bin HOME=/root PYTHONPATH=/site:/src NUMBA_CACHE_DIR=/numba OPENBLAS_NUM_THREADS=1 \
    chroot "$root" "/usr/bin/$(basename "$qemu")" -cpu cortex-a72 \
    /usr/bin/python3 -m pytest -q --rootdir /src -c /src/pyproject.toml "${selection[@]/#tests\//\/src\/tests\/}"
