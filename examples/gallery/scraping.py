"""
Crawling a site politely
========================

A crawler follows the links of a site until it has seen every page. It mostly waits for the network, so threads are
enough, and more requests at a time make it faster, up to the number that the site allows. The site here is a server in
the same program: it takes 50 ms for an answer, refuses more than eight requests at a time, and fails now and then.
"""

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urljoin
from urllib.request import urlopen

import matplotlib.pyplot as plt
import numpy as np

from futures_cluster import Executor, as_completed

PAGES, ALLOWED = 80, 8


class Site(BaseHTTPRequestHandler):
    """The page ``/17`` links to ``/34``, ``/35`` and two others."""

    room = threading.BoundedSemaphore(ALLOWED)
    requests = refused = 0

    def do_GET(self):
        if not self.room.acquire(blocking=False):
            Site.refused += 1
            self.send_error(429)
            return
        time.sleep(0.05)
        self.room.release()
        Site.requests += 1
        page = int(self.path.strip("/"))
        if Site.requests % 25 == 0:
            self.send_error(503)
        else:
            others = [2 * page, 2 * page + 1, *np.random.default_rng(page).integers(1, PAGES, 2)]
            links = " ".join(f'<a href="/{n}">page {n}</a>' for n in others if n < PAGES)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"<h1>Page {page}</h1> {links}".encode())

    def log_message(self, *args):
        """Print nothing."""


def fetch(url):
    """Return the addresses to which a page links."""
    with urlopen(url) as page:
        return [urljoin(url, link) for link in re.findall(r'href="([^"]*)"', page.read().decode())]


# %%
# A limit holds for all workers together: tasks over the limit stay queued. The executor retries a request that fails,
# after a pause that doubles. ``update`` adds new pages to the loop that is running.


def crawl(start_url, requests):
    """Fetch all pages with some requests at a time, and return the seconds at which they came."""
    begin = time.perf_counter()
    arrivals = []
    with Executor(32, backend="threads", limits={"site": requests}) as ex:
        polite = ex.with_options(limits={"site": 1}, retries=3, backoff=0.1)
        seen = {start_url}
        pages = as_completed([polite.submit(fetch, start_url)])
        for page in pages:
            arrivals.append(time.perf_counter() - begin)
            new = set(page.result()) - seen
            seen |= new
            pages.update(polite.submit(fetch, url) for url in new)
    return arrivals


server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
threading.Thread(target=server.serve_forever).start()
runs = {}
for requests in (1, 2, 4, ALLOWED):
    runs[requests] = crawl(f"http://127.0.0.1:{server.server_port}/1", requests)
server.shutdown()
server.server_close()

serial, parallel = runs[1][-1], runs[ALLOWED][-1]
print(f"{len(runs[1])} pages, {Site.refused} requests refused")
print(f"{serial:.1f} s with one request at a time, {parallel:.1f} s with eight: {serial / parallel:.1f} times as fast")

# %%
# At the start the crawler knows one address. It keeps eight requests busy as soon as it has found enough links.

figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
for requests, arrivals in runs.items():
    axes.plot(arrivals, range(1, len(arrivals) + 1), label=requests)
axes.set(xlabel="seconds", ylabel="pages fetched", xlim=(0, None), ylim=(0, PAGES))
axes.legend(title="requests at a time", frameon=False)
plt.show()
