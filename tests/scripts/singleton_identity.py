"""A module-level singleton is one object for functions, methods and classes of the script."""

# contexts: default fork spawn forkserver tcp
# modes: file module

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None


class Settings:
    def is_the_one(self):
        return self is SETTINGS

    @classmethod
    def the_one(cls):
        return SETTINGS

    @staticmethod
    def same(other):
        return other is SETTINGS


SETTINGS = Settings()
ALIAS = SETTINGS
TABLE = {"settings": SETTINGS}


def identities():
    return (
        SETTINGS is ALIAS,
        TABLE["settings"] is SETTINGS,
        Settings.the_one() is SETTINGS,
        Settings.same(ALIAS),
        SETTINGS.is_the_one(),
        type(SETTINGS) is Settings,
        isinstance(ALIAS, Settings),
    )


def alias():
    return ALIAS is SETTINGS, Settings.same(TABLE["settings"])


if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as pool:
        print(pool.submit(identities).result())
        print(pool.submit(alias).result())
        print(pool.submit(Settings.same, None).result())
        print(pool.submit(identities).result())
