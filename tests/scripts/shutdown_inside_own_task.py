"""``shutdown(wait=True)`` inside one of the pool's own thread tasks raises."""

from concurrent.futures import ThreadPoolExecutor

if __name__ == "__main__":
    pool = ThreadPoolExecutor(1)
    error = pool.submit(pool.shutdown, wait=True).exception()
    print(type(error).__name__)
    try:
        pool.submit(abs, -1)
    except RuntimeError as refused:
        print(refused)
    pool.shutdown()
