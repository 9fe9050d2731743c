"""``__init_subclass__`` and metaclasses run once for a class on a worker, and registries of classes are whole."""

# contexts: default fork spawn tcp
# modes: file stdin

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Plugin:
    registry = {}
    runs = 0

    def __init_subclass__(cls, /, name, **options):
        super().__init_subclass__(**options)
        Plugin.runs += 1
        Plugin.registry[name] = cls


class Upper(Plugin, name="upper"):
    def apply(self, text):
        return text.upper()


class Lower(Plugin, name="lower"):
    def apply(self, text):
        return text.lower()


class Meta(type):
    made = []

    def __new__(meta, name, bases, namespace):
        cls = super().__new__(meta, name, bases, namespace)
        cls.tag = name.lower()
        meta.made.append(name)
        return cls

    def __call__(cls, *args):
        instance = super().__call__(*args)
        instance.called = True
        return instance

    def __len__(cls):
        return 7


class Tagged(metaclass=Meta):
    pass


class Special(Tagged):
    pass


def apply(name, text):
    return Plugin.registry[name]().apply(text), sorted(Plugin.registry), Plugin.runs


def metas():
    return Meta.made, Special.tag, Tagged().called, len(Special), type(Special) is Meta


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(apply, "upper", "aB").result())
        print(pool.submit(apply, "lower", "aB").result())
        upper = pool.submit(Upper).result()
        print(type(upper) is Upper, pool.submit(apply, "upper", "x").result()[2])
        print(pool.submit(upper.apply, "y").result())
        print(pool.submit(metas).result())
        special = pool.submit(Special).result()
        print(type(special) is Special, special.called, pool.submit(metas).result()[0])
    print(Plugin.runs, Meta.made)
