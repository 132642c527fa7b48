"""What can be set of the service: where it listens, what it runs, and the limits of everything that grows."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from soundctm.config import check_ranges, option
from soundctm.errors import UserError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Settings:
    """Options of `soundctm serve`. Raises UserError for values outside their ranges."""

    # where it listens
    host: str = option("127.0.0.1", "address to listen at; another than this machine's own needs a token")
    port: int = option(8765, "port to listen at; 0 takes a free one", low=0, high=65535)
    host_name: tuple[str, ...] = option((), "names beside localhost under which clients reach it", value="NAME")
    token_file: str | None = option(
        None, "file whose first line every request must bring as `Authorization: Bearer ...`", value="FILE"
    )

    # what it runs
    checkpoint: str = option("mini", "checkpoint folder, shipped name or hub id")
    weights: str = option("ema", "which network", choices=("ema", "student"))
    device: str = option("auto", "torch device; auto takes the best")
    dtype: str = option("float32", "number format", choices=("float32", "bfloat16", "float16"))
    compile: str = option("none", "make calls cheaper that come again", choices=("none", "graphs", "inductor"))
    switch_models: bool = option(False, "let clients choose among the models that are found here")

    # what waits and what is made together
    queue: int = option(64, "clips that may wait; more are refused with the time until there is room", low=1)
    batch: int = option(16, "clips made in one call of the network at most", low=1)

    # limits of a request
    max_caption: int = option(1000, "characters of a caption", low=1)
    max_seconds: float = option(60.0, "seconds of a clip, made or uploaded", above=0, high=600)
    max_steps: int = option(64, "network calls of a clip", low=1)
    max_variants: int = option(8, "clips of a request", low=1, high=64)
    max_upload_mib: float = option(32.0, "MiB of a request", above=0)

    # times, in seconds
    header_s: float = option(10.0, "seconds in which the head of a request must have come", above=0)
    body_s: float = option(30.0, "seconds in which its body must have come", above=0)
    send_s: float = option(60.0, "seconds a client may take to read a piece of an answer", above=0)
    wait_s: float = option(300.0, "seconds a job may wait for its turn", above=0)
    make_s: float = option(600.0, "seconds a batch may take", above=0)
    stop_s: float = option(60.0, "seconds that what runs is given to end when the service is stopped", above=0)

    # what is kept of finished jobs
    keep_jobs: bool = option(True, "answer with jobs where that is asked for; false where replicas share the work")
    kept_jobs: int = option(256, "finished jobs that are kept", low=1)
    kept_mib: float = option(256.0, "MiB of their clips, and of sounds that wait to be edited", above=0)
    kept_s: float = option(900.0, "seconds they are kept", above=0)
    connections: int = option(256, "connections at a time", low=4)

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.max_variants > self.queue:
            raise UserError(f"max_variants is {self.max_variants}, but only {self.queue} clips may wait (queue)")
        if any("/" in name or not name for name in self.host_name):
            raise UserError(f"host_name is {self.host_name[0]!r}; it must be a name without scheme and path")

    @property
    def on_loopback(self) -> bool:
        """Can this machine alone reach the service?"""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host in LOOPBACK

    @property
    def upload_bytes(self) -> int:
        return int(self.max_upload_mib * 2**20)
