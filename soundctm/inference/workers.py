"""Several processes that share the clips of one run, as `accelerate launch` starts them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """This process's number among `count`; `state` is accelerate's, None when the process is alone."""

    index: int = 0
    count: int = 1
    state: Any = None

    @classmethod
    def of_environment(cls) -> Workers:
        """Reads WORLD_SIZE; accelerate (and torch) is imported only when there are several processes."""
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return cls()
        from accelerate import PartialState

        state = PartialState()
        return cls(state.process_index, state.num_processes, state)

    @property
    def is_main(self) -> bool:
        return self.index == 0

    def wait(self) -> None:
        """Until all processes are here."""
        if self.state is not None:
            self.state.wait_for_everyone()

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part of a list that is the same in all of them."""
        return list(items[self.index :: self.count])

    def device(self, wanted: str) -> str:
        """The torch device called `wanted`; "auto" is the best, one per process. Raises UserError if it is absent."""
        from soundctm.devices import usable_device

        return str(self.state.device) if wanted == "auto" and self.state is not None else usable_device(wanted)
