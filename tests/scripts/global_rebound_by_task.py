"""A global that one task rebinds is read by later tasks of the worker: of the same function and of another."""

# contexts: default fork spawn forkserver tcp
# modes: file -c stdin module ipython

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
state = "of the script"
calls = 0


# %%
def set_state(value):
    global state
    before, state = state, value
    return before


def get_state():
    return state


def count():
    global calls
    calls += 1
    return calls


# %%
if __name__ == "__main__":
    options = {} if CONTEXT is None else {"mp_context": CONTEXT}
    with ProcessPoolExecutor(1, **options) as pool:
        print(pool.submit(get_state).result())
        print(pool.submit(set_state, "first").result())
        print(pool.submit(set_state, "second").result())
        print(pool.submit(get_state).result())
        print([pool.submit(count).result() for _ in range(5)])
        print(list(pool.map(set_state, ["a", "b", "c"])))
        print(pool.submit(get_state).result())
    print(state, calls)
