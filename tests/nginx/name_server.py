"""A name server that knows a few names: what Docker's is for containers."""

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

# RFC 1035 sections 3.2.2, 4.1.1 and 4.1.4.
_A = 1
_HEADER = struct.Struct("!6H")
_RESPONSE = 0x8180  # an answer, recursion wanted and available
_NAME_ERROR = 3
_NAME_OF_THE_QUESTION = b"\xc0\x0c"
_TTL = 1  # seconds


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, known: Mapping[str, Sequence[str]]) -> None:
        self._known = known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(_answer(data, self._known), addr)


def _answer(query: bytes, known: Mapping[str, Sequence[str]]) -> bytes:
    """The answer to a query with one question; no records to a question about anything but IPv4 addresses."""
    labels, at = [], _HEADER.size
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    (kind,) = struct.unpack_from("!H", query, at + 1)
    addresses = known.get(".".join(labels))
    records = b"".join(
        _NAME_OF_THE_QUESTION + struct.pack("!HHIH", _A, 1, _TTL, 4) + ipaddress.IPv4Address(address).packed
        for address in (addresses or ())
        if kind == _A
    )
    flags = _RESPONSE if addresses else _RESPONSE | _NAME_ERROR
    header = _HEADER.pack(int.from_bytes(query[:2], "big"), flags, 1, len(records) // 16, 0, 0)
    return header + query[_HEADER.size : at + 5] + records


@asynccontextmanager
async def name_server(known: Mapping[str, Sequence[str]]) -> AsyncIterator[int]:
    """Run one that maps these names to IPv4 addresses; gives its UDP port on 127.0.0.1."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Answers(known), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
