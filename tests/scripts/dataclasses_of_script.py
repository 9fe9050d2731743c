"""Dataclasses: frozen, with slots, keyword-only, nested, with defaults and post-init."""

# contexts: default fork spawn tcp
# modes: file -c ipython

from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace

CONTEXT = None


# %%
@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


@dataclass(slots=True, kw_only=True)
class Segment:
    start: Point
    end: Point
    tags: list = field(default_factory=list)


@dataclass(order=True)
class Weighted:
    weight: float
    segment: Segment = field(compare=False)
    doubled: float = field(init=False)

    def __post_init__(self):
        self.doubled = 2 * self.weight


def stretch(segment, n):
    segment.tags.append("stretched")
    return replace(segment, end=replace(segment.end, x=segment.end.x + n))


def weigh(segment):
    return Weighted(segment.end.x - segment.start.x, segment)


def look(value):
    return type(value).__name__, [f.name for f in fields(value)], value == value, asdict(value)


# %%
if __name__ == "__main__":
    segment = Segment(start=Point(1), end=Point(4, 5))
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        longer = pool.submit(stretch, segment, 2).result()
        print(longer, type(longer) is Segment, type(longer.end) is Point, longer.end == Point(6, 5))
        heavy, light = pool.map(weigh, [longer, segment])
        print(heavy > light, heavy.doubled, heavy)
        print(hash(longer.start) == hash(Point(1)), {Point(1): "found"}[longer.start])
        print(pool.submit(look, longer).result())
    print(segment)
