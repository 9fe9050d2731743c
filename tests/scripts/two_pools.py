"""Two pools of a script: each has its own workers, and what tasks set on one the other does not see."""

# contexts: default fork spawn

from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
state = "of the script"


def set_state(value):
    global state
    before, state = state, value
    return before


if __name__ == "__main__":
    options = {"mp_context": CONTEXT, "initializer": set_state}
    with ProcessPoolExecutor(1, **options, initargs=("one",)) as one:
        with ProcessPoolExecutor(1, **options, initargs=("two",)) as two:
            print(one.submit(set_state, "1").result(), two.submit(set_state, "2").result())
            print(one.submit(set_state, "11").result(), two.submit(set_state, "22").result())
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as three:
        print(three.submit(set_state, "3").result())
    print(state)
