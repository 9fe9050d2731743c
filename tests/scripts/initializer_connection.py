"""An initializer opens a database connection, which every task of its worker uses."""

# contexts: default fork spawn forkserver
# modes: file stdin

import sqlite3
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
connection = None


def connect(rows):
    global connection
    connection = sqlite3.connect(":memory:")
    connection.execute("create table numbers (n integer)")
    connection.executemany("insert into numbers values (?)", [(n,) for n in rows])


def total_above(limit):
    return connection.execute("select sum(n) from numbers where n > ?", (limit,)).fetchone()[0]


def insert(n):
    connection.execute("insert into numbers values (?)", (n,))
    return connection.total_changes


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT, initializer=connect, initargs=([1, 2, 3, 4],)) as pool:
        print(pool.submit(total_above, 2).result())
        print(pool.submit(insert, 10).result())
        print(pool.submit(insert, 20).result())
        print(pool.submit(total_above, 2).result())
