"""
The size of a genome from short reads
=====================================

How long is a genome of which only short reads are known? Count how often each k-mer, a word of 21 letters, occurs in
the reads: k-mers of the genome occur about as often as the reads cover it, those with a reading error once or twice.
The count is a shuffle of two stages; its tasks take lists of futures as arguments.
"""

import time
from operator import itemgetter

import matplotlib.pyplot as plt
import numpy as np

from futures_cluster import Executor

K, GENOME, READ, COVERAGE = 21, 600_000, 100, 40
BLOCKS, PARTITIONS = 8, 4


def make_genome(seed):
    """Return the two chromosomes of an individual, which differ in one letter of a hundred."""
    rng = np.random.default_rng(seed)
    mother = rng.integers(0, 4, GENOME, dtype=np.uint8)
    differs = rng.random(GENOME) < 0.01
    return np.stack([mother, np.where(differs, (mother + rng.integers(1, 4, GENOME)) % 4, mother).astype(np.uint8)])


def sequence(genome, seed):
    """Return a block of reads; letters are 0 to 3, and one of 200 is wrong. Stands in for reading a file."""
    rng = np.random.default_rng(seed)
    reads = GENOME * COVERAGE // READ // BLOCKS
    starts = rng.integers(0, GENOME - READ, (reads, 1))
    letters = genome[rng.integers(0, 2, (reads, 1)), starts + np.arange(READ)]
    return np.where(rng.random(letters.shape) < 0.005, rng.integers(0, 4, letters.shape, dtype=np.uint8), letters)


def split(reads):
    """Return the k-mers of a block as numbers, in one array for each partition."""
    forward = backward = np.zeros((len(reads), READ - K + 1), np.uint64)
    for i in range(K):
        letters = reads[:, i : i + READ - K + 1].astype(np.uint64)
        forward = forward << np.uint64(2) | letters
        backward = backward | (np.uint64(3) - letters) << np.uint64(2 * i)
    # A read may come from either strand: a k-mer and its reverse complement count as one.
    kmers = np.minimum(forward, backward).ravel()
    partition = (kmers * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(62)
    return [kmers[partition == n] for n in range(PARTITIONS)]


def count(pieces):
    """Return how many k-mers of a partition occur once, twice, and so on."""
    _, times = np.unique(np.concatenate(pieces), return_counts=True)
    return np.bincount(times, minlength=100)[:100]


# %%
# Equal k-mers of all blocks come together in one partition: ``count`` gets the piece of each block. The pieces go from
# worker to worker, and the program sees a hundred numbers for each partition. ``backend="sync"`` runs the same program
# serially.


def spectrum(backend):
    """Return the numbers of k-mers that occur once, twice, and so on."""
    with Executor(2, backend=backend) as ex:
        genome = ex.submit(make_genome, 1)
        blocks = [ex.submit(split, ex.submit(sequence, genome, seed)) for seed in range(BLOCKS)]
        pieces = [[ex.submit(itemgetter(n), block) for block in blocks] for n in range(PARTITIONS)]
        return sum(ex.gather([ex.submit(count, each) for each in pieces]))


start = time.perf_counter()
alone = spectrum("sync")
serial = time.perf_counter() - start
start = time.perf_counter()
kmers = spectrum("processes")
parallel = time.perf_counter() - start
assert (kmers == alone).all()
print(f"{serial:.1f} s serially, {parallel:.1f} s with two workers: {serial / parallel:.1f} times as fast")

# %%
# The left peak has the k-mers with a letter in which the chromosomes differ: only half of the reads have them. Errors
# are left of the valley. All other k-mers together, divided by the place of the right peak, are the size of the genome.

valley = 2 + int(np.argmin(kmers[2:12]))
peak = 20 + int(np.argmax(kmers[20:60]))
size = kmers[valley:] @ np.arange(valley, 100) / peak
print(f"the genome has about {size:,.0f} letters; it was made with {GENOME:,}")

figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
axes.bar(range(1, valley), kmers[1:valley] / 1000, width=1, color="0.7", label="reading errors")
axes.bar(range(valley, 60), kmers[valley:60] / 1000, width=1, color="C0", label="k-mers of the genome")
axes.axvline(peak / 2, color="black", linewidth=0.8, linestyle=":", label="on one chromosome")
axes.axvline(peak, color="black", linewidth=0.8, linestyle="--", label="on both chromosomes")
axes.set(xlabel="occurrences in the reads", ylabel="thousands of different k-mers", xlim=(0, 60))
axes.set_ylim(0, 1.3 * kmers[peak] / 1000)
axes.legend(frameon=False)
plt.show()
