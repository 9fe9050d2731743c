"""The attributes of log records that tell the worker and the task.

Covers: giving them to records that do not come from a worker process, so that one format string serves all. Does not
cover: how records come from workers, which have the attributes then (``services.client.log_receiver``).
"""

from __future__ import annotations

import logging

from futures_cluster.context import current_task


class TaskLogFilter(logging.Filter):
    """Give each log record the attributes ``worker_name`` and ``task_key``, for format strings.

    Records that come from worker processes have both. This filter adds them to all other records that pass a handler:
    ``task_key`` is the key of the task that the thread executes, and both are ``""`` outside tasks. It lets every
    record pass.

    Parameters
    ----------
    name : str
        Name of a logger, for ``logging.Filter``; it has no effect here.

    Examples
    --------
    >>> import logging
    >>> handler = logging.StreamHandler()
    >>> handler.addFilter(TaskLogFilter())
    >>> handler.setFormatter(logging.Formatter("%(levelname)s [%(worker_name)s %(task_key)s] %(message)s"))
    >>> logging.basicConfig(level=logging.INFO, handlers=[handler])  # doctest: +SKIP
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the attributes to a record, and let it pass.

        Parameters
        ----------
        record : logging.LogRecord
            Record that a handler or a logger has.

        Returns
        -------
        bool
            True.
        """
        task = current_task()
        fields = record.__dict__
        fields.setdefault("task_key", "" if task is None else task.key)
        fields.setdefault("worker_name", "" if task is None else getattr(task.host, "name", ""))
        return True
