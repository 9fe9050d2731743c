"""``joblib.dump`` of an object of the script in a task, loaded by the caller, and the other way round."""

# contexts: default fork tcp
# needs: joblib

import os
from concurrent.futures import ProcessPoolExecutor

import joblib

CONTEXT = None
folder = os.getcwd()


class Model:
    def __init__(self, weights):
        self.weights = weights

    def predict(self, x):
        return [w * x for w in self.weights]


def fit(path, n):
    joblib.dump(Model(list(range(n))), path)
    return joblib.load(path).predict(2), type(joblib.load(path)) is Model


def predict(path, x):
    return joblib.load(path).predict(x)


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        path = os.path.join(folder, "model.joblib")
        print(pool.submit(fit, path, 4).result())
        model = joblib.load(path)
        print(type(model) is Model, model.predict(3))
        joblib.dump(Model([9]), path)
        print(pool.submit(predict, path, 2).result())
