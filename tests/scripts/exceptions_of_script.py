"""Exceptions that the script defines: raised in a task, caught by type at the caller, chained, grouped, with notes."""

# contexts: default fork spawn tcp
# modes: file -c stdin ipython

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


# %%
class AppError(Exception):
    pass


class NotFound(AppError, KeyError):
    def __init__(self, key, where="table"):
        super().__init__(key, where)
        self.key = key

    def __str__(self):
        return f"{self.key} is not in {self.args[1]}"


def find(key):
    raise NotFound(key, "list")


def chained(key):
    try:
        find(key)
    except NotFound as error:
        raise AppError("chained") from error


def noted():
    error = AppError("with a note")
    error.add_note("look here")
    error.code = 7
    raise error


def grouped():
    raise ExceptionGroup("several", [NotFound("a"), ValueError(1)])


def returned():
    return NotFound("returned")


def caught_on_the_worker(key):
    try:
        find(key)
    except KeyError as error:
        return isinstance(error, NotFound), error.key


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        try:
            pool.submit(find, "k").result()
        except NotFound as error:
            print(error, error.key, error.args, type(error) is NotFound)
        print(isinstance(pool.submit(chained, "k").exception(), AppError))
        error = pool.submit(noted).exception()
        print(error.__notes__, error.code)
        try:
            pool.submit(grouped).result()
        except* NotFound as group:
            print([str(e) for e in group.exceptions])
        except* ValueError as group:
            print(group.exceptions)
        print(repr(pool.submit(returned).result()))
        print(pool.submit(caught_on_the_worker, 3).result())
        try:
            list(pool.map(find, "xy"))
        except NotFound as error:
            print(error)
