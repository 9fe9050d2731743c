"""The handle of a queue: put and get, for clients, tasks and coroutines."""

from __future__ import annotations

from typing import Any

from futures_cluster.channels import Answer, SharedHandle


class Queue(SharedHandle):
    kind = "queue"

    def __init__(self, executor: Any, name: str, maxsize: int | None = None) -> None:
        super().__init__(executor, name, maxsize=maxsize)

    def put(self, value: Any, timeout: float | None = None) -> None:
        self.ask("put", self.pack(value), timeout=timeout)

    def get(self, timeout: float | None = None) -> Any:
        answer = self.ask("get", timeout=timeout, undo=self.put_back)
        return answer.load(answer[0])

    async def get_async(self, timeout: float | None = None) -> Any:
        answer = await self.ask_async("get", timeout=timeout, undo=self.put_back)
        return answer.load(answer[0])

    def put_back(self, answer: Answer) -> None:
        """The item came when nobody waited for it any more."""
        self.tell("put_back", answer[0])

    def __len__(self) -> int:
        return int(self.ask("length")[0])
