"""
Counting cells in a batch of images
===================================

A plate has 96 wells: twelve doses of a drug, eight wells for each. A microscope has taken one picture of each well. The
program finds the cells in every picture and counts them, and draws what the drug does.
"""

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy import ndimage
from scipy.optimize import curve_fit

from futures_cluster import Executor

DOSES = np.geomspace(0.01, 100, 12)  # micromolar
SIZE = 400  # pixels


def survivors(dose, half=1.5, slope=1.2, most=120):
    """Return the expected number of cells at a dose: a Hill curve."""
    return most / (1 + (dose / half) ** slope)


def take_picture(path, cells, rng):
    """Write what the microscope sees: blurred discs, uneven light, and the noise of the camera."""
    picture = np.zeros((SIZE, SIZE))
    x, y = rng.integers(8, SIZE - 8, (2, cells))
    picture[y, x] = rng.uniform(0.7, 1.3, cells)
    disc = np.hypot(*np.mgrid[-6:7, -6:7]) <= 5.5
    picture = ndimage.gaussian_filter(ndimage.grey_dilation(picture, footprint=disc), 1.5)
    light = 1 + 0.4 * np.hypot(*np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j])
    np.save(path, rng.poisson(200 * light + 250 * picture).astype(np.uint16))


def find_cells(path):
    """Return the mask of the cells of a picture, and their number."""
    picture = np.load(path).astype(np.float32)
    light = ndimage.median_filter(picture[::8, ::8], 15).repeat(8, 0).repeat(8, 1)
    picture = ndimage.gaussian_filter(picture, 1) - light
    mask = ndimage.binary_opening(picture > 100, iterations=2)
    # Cells that touch have one mask, and a centre each: the places that are farthest from its edge.
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1)
    centres = (depth == ndimage.maximum_filter(depth, 9)) & (depth > 2)
    return mask, ndimage.label(centres, np.ones((3, 3)))[1]


rng = np.random.default_rng(0)
folder = tempfile.TemporaryDirectory()
wells = [(dose, Path(folder.name, f"{n:02}.npy")) for n, dose in enumerate(np.repeat(DOSES, 8))]
for dose, path in wells:
    take_picture(path, rng.poisson(survivors(dose)), rng)

# %%
# A mask is as large as its picture, so the program must not hold all of them. ``buffersize`` makes ``map`` an iterator
# that is at most eight pictures ahead of the loop, however many there are. Results come in the order of the pictures.

start = time.perf_counter()
alone = [find_cells(path)[1] for _, path in wells]
serial = time.perf_counter() - start

start = time.perf_counter()
counts = []
with Executor(2) as ex:
    for mask, count in ex.map(find_cells, [path for _, path in wells], buffersize=8):
        if not counts:
            first_mask = mask
        counts.append(count)
parallel = time.perf_counter() - start
assert counts == alone
print(f"{serial:.1f} s serially, {parallel:.1f} s with two workers: {serial / parallel:.1f} times as fast")

# %%
# The edges of the mask lie on the picture without the drug. The curve fitted to the counts gives the dose that
# halves the number of cells; the pictures were made with 1.5 micromolar.

mean = np.reshape(counts, (12, 8)).mean(axis=1)
(half, slope, most), _ = curve_fit(survivors, DOSES, mean, p0=(1, 1, 100))
print(f"half of the cells are left at {half:.2f} micromolar")

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
left.imshow(np.load(wells[0][1]), cmap="gray")
left.contour(first_mask, [0.5], colors="C1", linewidths=0.7)
left.set(xticks=[], yticks=[], title=f"no effect yet: {counts[0]} cells")
right.plot(np.repeat(DOSES, 8), counts, ".", color="0.6", label="a well")
fine = np.geomspace(DOSES[0], DOSES[-1], 200)
right.plot(fine, survivors(fine, half, slope, most), color="C1", label="fitted curve")
right.axvline(half, color="black", linewidth=0.8, linestyle="--")
right.set(xscale="log", xlabel="dose (µM)", ylabel="cells in a picture", title=f"half are left at {half:.1f} µM")
right.legend(frameon=False)
folder.cleanup()
plt.show()
