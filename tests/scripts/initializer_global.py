"""An initializer sets globals, and tasks read them."""

# contexts: default fork spawn forkserver
# modes: file -c stdin module ipython

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
model = None


# %%
def init(factor):
    global model, unknown_before
    model = {"factor": factor}
    unknown_before = "set by init"


def predict(x):
    return model["factor"] * x


def read_unknown():
    return unknown_before


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=CONTEXT, initializer=init, initargs=(3,)) as pool:
        print(list(pool.map(predict, range(5))))
        print(pool.submit(read_unknown).result())
    print(model)
