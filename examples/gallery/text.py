"""
Learning a tokenizer from text in parts
=======================================

Byte-pair encoding makes the vocabulary of a language model. It starts with letters and merges the most frequent pair of
neighbouring tokens, again and again. Each round counts the pairs of the whole text, chooses one, and changes the whole
text. The parts of the text stay on the workers; only counts and choices travel.
"""

import time
from collections import Counter
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

from futures_cluster import Executor

MERGES, PARTS, WORDS = 90, 2, 10_000
PREFIXES = ["", "", "un", "re", "pre", "over", "under", "out"]
STEMS = (
    "walk paint build light stone write count read break play print work form turn hand board house ground side step "
    "line mark stand draw port time point shift scale field press script cast fold bind sign set pass sort load"
)
SUFFIXES = ["", "", "s", "ed", "ing", "er", "able", "ship", "less", "ness"]


def make_part(seed):
    """Return the words of one part of the text as tuples of letters, with how often each occurs."""
    rng = np.random.default_rng(seed)
    columns = [rng.choice(choice, WORDS // PARTS) for choice in (PREFIXES, STEMS.split(), STEMS.split(), SUFFIXES)]
    return [(tuple("".join(word)), int(n)) for *word, n in zip(*columns, rng.zipf(1.6, WORDS // PARTS).clip(max=500))]


def count_pairs(part):
    """Return how often each pair of tokens occurs in a part."""
    pairs = Counter()
    for word, n in part:
        for pair in pairwise(word):
            pairs[pair] += n
    return pairs


def merge_pair(part, pair):
    """Return a new part in which the two tokens of a pair are one."""
    merged = []
    for word, n in part:
        if pair[0] in word and pair[1] in word:
            tokens = []
            for token in word:
                if tokens and (tokens[-1], token) == pair:
                    tokens[-1] += token
                else:
                    tokens.append(token)
            word = tuple(tokens)
        merged.append((word, n))
    return merged


def mean_tokens(part):
    """Return the number of tokens in a word, on average over the text."""
    return sum(len(word) * n for word, n in part) / sum(n for _, n in part)


# %%
# ``merge_pair`` takes the future of a part and returns the next version of the part. The scheduler runs each task on
# the worker that has its part. A round ends with the slower worker, so the speed-up suffers when another program uses
# one of the cores. With ``backend="sync"`` the same program runs serially.


def learn(backend):
    """Return the tokens in the order of their merges, the parts, and the mean number of tokens per word."""
    with Executor(2, backend=backend) as ex:
        parts = [ex.submit(make_part, seed) for seed in range(PARTS)]
        tokens, lengths = [], []
        for _ in range(MERGES):
            total = Counter()
            for counts in ex.gather([ex.submit(count_pairs, part) for part in parts]):
                total.update(counts)
            pair = max(total, key=lambda pair: (total[pair], pair))
            parts = [ex.submit(merge_pair, part, pair) for part in parts]
            lengths.append(ex.submit(mean_tokens, parts[0]))
            tokens.append("".join(pair))
        return tokens, ex.gather(lengths), parts[0].result()


start = time.perf_counter()
alone, *_ = learn("sync")
serial = time.perf_counter() - start
start = time.perf_counter()
tokens, lengths, part = learn("processes")
parallel = time.perf_counter() - start
assert tokens == alone
print(f"{serial:.1f} s serially, {parallel:.1f} s with two workers: {serial / parallel:.1f} times as fast")
print("some words:", ", ".join("|".join(word) for word, n in part[:5]))

# %%
# The learner has never seen the lists of word parts. Its tokens become the prefixes, stems and suffixes of which the
# words are made.

known = {*PREFIXES, *STEMS.split(), *SUFFIXES} - {"", "s"}
found = 100 * np.cumsum([token in known for token in tokens]) / len(known)
merges = range(1, MERGES + 1)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.3), layout="constrained")
left.plot(merges, lengths)
left.set(xlabel="merges", ylabel="tokens in a word, on average", ylim=(0, None))
right.plot(merges, found, color="C1")
right.set(xlabel="merges", ylabel="word parts that are tokens (%)", ylim=(0, 100))
plt.show()
