"""Arrays of numpy: kinds, orders, views, writing into arguments, structured and object arrays, globals."""

# contexts: default fork spawn tcp
# without: ray
# modes: file stdin
# needs: numpy

from concurrent.futures import ProcessPoolExecutor

import numpy as np

CONTEXT = None
WEIGHTS = np.arange(4.0)


class Tagged(np.ndarray):
    pass


def scale(array):
    array *= 2
    return array, array.flags.writeable, array.flags.f_contiguous


def weigh(x):
    return float(WEIGHTS @ x)


def learn(n):
    WEIGHTS[:] += n
    return WEIGHTS


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        big = np.arange(400_000.0).reshape(2, -1)
        for array in (np.ones(3), big, big.T, big[:, ::2], np.asfortranarray(big), np.array(5), np.zeros((0, 3))):
            back, *facts = pool.submit(scale, array).result()
            print(np.array_equal(back, array * 2), back.shape, back.dtype, facts[0], back.flags.writeable)
        print(big[0, 1])
        row = np.array([(1, "a")], dtype=[("n", "i4"), ("t", "U3")])
        print(pool.submit(np.copy, row).result())
        print(pool.submit(np.array, [None, "x", []], dtype=object).result())
        tagged = pool.submit(np.ones(2).view(Tagged).copy).result()
        print(type(tagged) is Tagged, tagged.sum())
        print(pool.submit(weigh, np.ones(4)).result())
        pool.submit(learn, 1).result()[:] = 0
        print(pool.submit(learn, 1).result(), pool.submit(weigh, np.ones(4)).result(), WEIGHTS)
