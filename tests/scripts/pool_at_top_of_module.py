"""A pool at the top level of a module that workers import: refused with a text, instead of ever more processes."""

import os
from concurrent.futures import ProcessPoolExecutor  # noqa: F401

SOURCE = """
import os
from futures_cluster import ProcessPoolExecutor
with open("imports", "a") as file:
    print(os.getpid(), file=file)
if len(open("imports").readlines()) > 4:
    os._exit(1)
def helper():
    return 1
try:
    with ProcessPoolExecutor(1) as pool:
        RESULT = pool.submit(helper).result(20)
except Exception as error:
    RESULT = error
    if "imports" in str(error) or "import" in str(error):
        RESULT = "refused"
    if os.getpid() != int(os.environ["THE_SCRIPT"]):
        raise
"""

if __name__ == "__main__":
    os.environ["THE_SCRIPT"] = str(os.getpid())
    with open("tool_of_script.py", "w") as file:
        file.write(SOURCE)
    import sys

    sys.path.insert(0, os.getcwd())
    import tool_of_script

    print(tool_of_script.RESULT)
    print(len(open("imports").readlines()) <= 4)

# expected:
# refused
# True
