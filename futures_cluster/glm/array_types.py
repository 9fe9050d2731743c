"""What annotations of this room call an array.

numpy's own class would make type checkers ask for a cast wherever a function of scipy or pandas gives the array.
"""

from __future__ import annotations

from typing import Any

Array = Any
