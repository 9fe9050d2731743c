"""``partial``, ``partialmethod``, ``cached_property`` and properties of classes of the script."""

# contexts: default fork spawn tcp
# modes: file -c

from concurrent.futures import ProcessPoolExecutor
from functools import cached_property, partial, partialmethod
from operator import attrgetter, methodcaller

CONTEXT = None


class Account:
    computed = 0

    def __init__(self, amount):
        self.amount = amount

    @property
    def euros(self):
        return self.amount / 100

    @euros.setter
    def euros(self, value):
        self.amount = int(value * 100)

    @cached_property
    def report(self):
        Account.computed += 1
        return f"{self.euros:.2f}"

    def add(self, n, *, times=1):
        self.amount += n * times
        return self

    add_ten = partialmethod(add, 10, times=2)


def power(base, exponent):
    return base**exponent


def use(account):
    account.euros = account.euros + 1
    return account.report, account.report, account.add_ten().amount, Account.computed


if __name__ == "__main__":
    account = Account(250)
    account.report  # noqa: B018
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(list(pool.map(partial(power, 2), range(5))))
        print(pool.submit(partial(power, exponent=2), base=3).result())
        print(pool.submit(use, Account(100)).result())
        print(pool.submit(attrgetter("report"), account).result())
        print(pool.submit(account.add_ten).result().amount)
        print(pool.submit(methodcaller("add", 5), account).result().__dict__)
    print(account.amount, Account.computed)
