"""Exceptions whose constructors take other arguments than they keep arrive as themselves, with their attributes."""

# modes: file ipython

import urllib.error
from concurrent.futures import ProcessPoolExecutor


# %%
class KeywordOnly(Exception):
    def __init__(self, *, code):
        super().__init__(f"code {code}")
        self.code = code


class TwoArguments(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.first, self.second = first, second


class Slotted(Exception):
    __slots__ = ("detail",)

    def __init__(self, detail):
        self.detail = detail


class FileError(OSError):
    def __init__(self, path, hint):
        super().__init__(2, "no such thing", path)
        self.hint = hint


class PlainOSError(OSError):
    def __init__(self, reason):
        self.reason = reason


def fail(kind, *args, **kwargs):
    raise kind(*args, **kwargs)


# %%
if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        error = pool.submit(fail, KeywordOnly, code=3).exception()
        print(type(error) is KeywordOnly, error, error.code)
        error = pool.submit(fail, TwoArguments, "a", "b").exception()
        print(type(error) is TwoArguments, error, error.second)
        error = pool.submit(fail, Slotted, "why").exception()
        print(type(error) is Slotted, error.detail)
        error = pool.submit(fail, FileError, "data.txt", "look again").exception()
        print(type(error) is FileError, error.errno, error.filename, error.hint)
        error = pool.submit(fail, PlainOSError, "none").exception()
        print(type(error) is PlainOSError, error.reason)
        error = pool.submit(fail, urllib.error.HTTPError, "http://x", 404, "not found", {"a": "b"}, None).exception()
        print(type(error) is urllib.error.HTTPError, error.code, error.headers, error)
        error = pool.submit(fail, UnicodeDecodeError, "utf-8", b"abc", 0, 1, "bad").exception()
        print(type(error) is UnicodeDecodeError, error.object, error.reason)
        print(pool.submit(abs, -1).result())

# expected:
# True code 3 3
# True a and b b
# True why
# True 2 data.txt look again
# True none
# True 404 {'a': 'b'} HTTP Error 404: not found
# True b'abc' bad
# 1
