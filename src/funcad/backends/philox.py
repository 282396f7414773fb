"""Philox4x64-10 as a CuPy kernel: the words of ``numpy.random.Philox`` on a GPU.

Imported only where CuPy is in use.
"""

from __future__ import annotations

from typing import Any

import cupy

KERNEL = """
const unsigned long long row = i / blocks;
unsigned long long k0 = keys[2 * row], k1 = keys[2 * row + 1];
// NumPy counts before it encrypts, so that the first block is number one.
unsigned long long c0 = i % blocks + 1, c1 = words[row], c2 = 0, c3 = stream;
for (int round = 0; round < 10; ++round) {
    const unsigned long long m0 = 0xD2E7470EE14C6C93ULL, m1 = 0xCA5A826395121157ULL;
    const unsigned long long high0 = __umul64hi(m0, c0), low0 = m0 * c0;
    const unsigned long long high1 = __umul64hi(m1, c2), low1 = m1 * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B97F4A7C15ULL;
    k1 += 0xBB67AE8584CAA73BULL;
}
out[4 * i] = c0;
out[4 * i + 1] = c1;
out[4 * i + 2] = c2;
out[4 * i + 3] = c3;
"""
"""Encrypt counter number ``i``; Salmon et al. 2011, section 3.3 and table 2."""

_kernel = cupy.ElementwiseKernel(
    "raw uint64 keys, raw uint64 words, uint64 stream, uint64 blocks",
    "raw uint64 out",
    KERNEL,
    "funcad_philox4x64",
)


def philox_words(keys: Any, words: Any, stream: int, blocks: int) -> Any:
    """The words of the first blocks of several streams.

    Parameters
    ----------
    keys : CuPy array of uint64, shape (n, 2)
    words : CuPy array of uint64, shape (n,)
        Second words of the counters.
    stream : int
        Last word of the counters.
    blocks : int
        How many blocks of 4 words.

    Returns
    -------
    CuPy array of uint64, shape (n, 4 * blocks)
    """
    keys, words = cupy.ascontiguousarray(keys), cupy.ascontiguousarray(words)
    out = cupy.empty((len(keys), 4 * blocks), cupy.uint64)
    if out.size:
        _kernel(keys, words, stream, blocks, out, size=out.size // 4)
    return out
