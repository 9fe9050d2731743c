"""Two clients of one worker never see what the other's tasks have set, nor its functions of the same name."""

# contexts: tcp

import os
from concurrent.futures import ProcessPoolExecutor

CONTEXT = None
state = "of the script"


class Counter:
    count = 0


def set_state(value):
    global state
    before, state = state, value
    Counter.count += 1
    return before, Counter.count


if __name__ == "__main__":
    with ProcessPoolExecutor() as one, ProcessPoolExecutor() as two:
        print(one.submit(os.getpid).result() == two.submit(os.getpid).result())
        print(one.submit(set_state, "1").result())
        print(two.submit(set_state, "2").result())
        print(one.submit(set_state, "11").result())
        print(two.submit(set_state, "22").result())
    with ProcessPoolExecutor() as three:
        print(three.submit(set_state, "3").result())

# expected:
# True
# ('of the script', 1)
# ('of the script', 1)
# ('1', 2)
# ('2', 2)
# ('of the script', 1)
