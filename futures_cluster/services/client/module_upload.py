"""The client's modules for workers elsewhere: folders that they may share with it, and files that it uploads.

Does not cover: what workers do with them (``services.worker.uploaded_modules``).
"""

from __future__ import annotations

import io
import os
import sys

#: What ``sys.path`` can hold besides folders.
ARCHIVES = (".zip", ".whl", ".egg")


def shareable_paths() -> list[str]:
    """Return the folders of this process's ``sys.path`` where users' modules may lie."""
    own = tuple(os.path.realpath(prefix) + os.sep for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix))
    paths = [os.path.realpath(entry or os.getcwd()) for entry in sys.path]
    return [path for path in paths if os.path.exists(path) and not path.startswith(own)]


def read_module(path: str) -> tuple[str, bytes]:
    """Return name and bytes of a file to upload; a package becomes an archive.

    Raises
    ------
    ValueError
        For anything that could not be imported.
    """
    import zipfile

    path = os.path.abspath(path)
    if os.path.isdir(path):
        buffer = io.BytesIO()
        parent = os.path.dirname(path)
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for folder, folders, files in os.walk(path):
                folders[:] = sorted(name for name in folders if name != "__pycache__")
                for name in sorted(files):
                    full = os.path.join(folder, name)
                    archive.write(full, os.path.relpath(full, parent))
        return os.path.basename(path) + ".zip", buffer.getvalue()
    if not path.endswith((".py", *ARCHIVES)):
        raise ValueError(f"{path} is neither a folder nor a .py, .zip, .whl or .egg file")
    if path.endswith(ARCHIVES) and not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no zip archive, whatever its name says, and nothing could be imported from it")
    with open(path, "rb") as file:
        return os.path.basename(path), file.read()
