"""Damage to valid files, drawn from a seed: bytes, values of JSON, and members of a zip."""

from __future__ import annotations

import copy
import io
import random
import struct
import zipfile
from typing import Any

NUMBERS = (0, -1, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**36)
TOKENS = (
    *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b",", b"\n", b"\r\n", b"[" * 5000, b"{", b"]", b"../../out", b"NaN"),
    *(b"-1", b"1e400", b"9" * 400, b"null", b"&a [*a]", b"!!python/object/apply:os.system", b"\xf0\x9f\x94\x8a", b": "),
    *(b"\\ud800", b"A" * 70_000, b"|", b"- ", b"%", b"true"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 2**31, 10**9, 10**400, 1e308, -0.5, 1e-320, "", "x", "../../out", "pipe:touch out"),
    *([], {}, [None], [[]], [1, "x"], [16, 17], {"a": 1}, ["a"] * 50, [0], [[0, 1]], "1", "9" * 400, "\0", "/dev/zero"),
)


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """`content` after one to four small changes."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        data = _change(data, rng)
    return bytes(data)


def mutated_header(content: bytes, rng: random.Random, size: int = 64) -> bytes:
    """`content` with changes in its first `size` bytes only, where formats keep what they say of themselves."""
    return mutated_bytes(content[:size], rng) + content[size:]


def mutated_values(value: Any, rng: random.Random) -> Any:
    """A JSON value after one or two changes: another value somewhere, a key less or more."""
    root = {"": copy.deepcopy(value)}
    for _ in range(rng.randint(1, 2)):
        holder, key = rng.choice(list(_places(root)))
        kind = rng.random()
        if kind < 0.15 and key != "":
            del holder[key]
        elif kind < 0.25 and isinstance(holder, dict):
            holder[rng.choice(("_class_name", "auto_map", "x", "mean", "__proto__"))] = rng.choice(VALUES)
        elif kind < 0.4 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] = rng.choice((-holder[key], holder[key] + 1, holder[key] * 10**6, 0.5, 0))
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        root.setdefault("", None)
    return root[""]


def mutated_zip(content: bytes, rng: random.Random) -> bytes:
    """A zip with one changed member and checksums that are right, or stored otherwise, or with damaged bytes."""
    if rng.random() < 0.3:
        return mutated_bytes(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    chosen = rng.randrange(len(members))
    how = rng.random()
    if how < 0.1:
        members.pop(chosen)
    elif how < 0.9:
        members[chosen] = (members[chosen][0], mutated_bytes(members[chosen][1], rng))
    else:
        members.append(("../../out", b"out"))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return target.getvalue()


def _places(value: Any):
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list) and value[key]:
            yield from _places(value[key])


def _change(data: bytearray, rng: random.Random) -> bytearray:
    if not data:
        return bytearray(rng.choice(TOKENS))
    at = rng.randrange(len(data))
    until = min(len(data), at + rng.randint(1, 32))
    kind = rng.randrange(8)
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        data[at:until] = rng.randbytes(until - at)
    elif kind == 2:
        del data[at:until]
    elif kind == 3:
        data[at:at] = data[at:until] * rng.randint(1, 20)
    elif kind == 4:
        data[at:at] = rng.choice(TOKENS)
    elif kind == 5:
        data[at:until] = rng.choice(TOKENS)
    elif kind == 6:
        return data[:at]
    else:
        number = rng.choice(NUMBERS) & 2**64 - 1
        packed = struct.pack(rng.choice("<>") + "Q", number)
        size = rng.choice((2, 4, 8))
        data[at : at + size] = packed[:size] if number < 2**32 else packed[-size:]
    return data
