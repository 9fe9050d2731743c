"""Functions of the script by ``loop.run_in_executor`` and awaited, from an asyncio program."""

# contexts: default fork
# modes: file -c

import asyncio
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
seen = 0


def work(x):
    global seen
    seen += x
    return seen


def fail():
    raise LookupError("in the task")


async def main():
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(await loop.run_in_executor(pool, work, 1), await loop.run_in_executor(pool, work, 2))
        print(await asyncio.gather(*(asyncio.wrap_future(pool.submit(work, n)) for n in range(3))))
        try:
            await loop.run_in_executor(pool, fail)
        except LookupError as error:
            print(error)


if __name__ == "__main__":
    asyncio.run(main())
    print(seen)
