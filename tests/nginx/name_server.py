"""DNS server with a few fixed names, in place of Docker's."""

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

# RFC 1035 sections 3.2.2, 4.1.1 and 4.1.4.
_A = 1
_HEADER = struct.Struct("!6H")
_RESPONSE = 0x8180  # a response, with recursion desired and available
_NAME_ERROR = 3
_NAME_OF_THE_QUESTION = b"\xc0\x0c"
_TTL = 1  # seconds


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, addresses: Mapping[str, Sequence[str]]) -> None:
        self._addresses = addresses

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(_response(data, self._addresses), addr)


def _response(query: bytes, addresses: Mapping[str, Sequence[str]]) -> bytes:
    """Return the response to a query with one question; it has records only for the type A."""
    labels, at = [], _HEADER.size
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    (kind,) = struct.unpack_from("!H", query, at + 1)
    found = addresses.get(".".join(labels))
    records = b"".join(
        _NAME_OF_THE_QUESTION + struct.pack("!HHIH", _A, 1, _TTL, 4) + ipaddress.IPv4Address(address).packed
        for address in (found or ())
        if kind == _A
    )
    flags = _RESPONSE if found else _RESPONSE | _NAME_ERROR
    header = _HEADER.pack(int.from_bytes(query[:2], "big"), flags, 1, len(records) // 16, 0, 0)
    return header + query[_HEADER.size : at + 5] + records


@asynccontextmanager
async def name_server(addresses: Mapping[str, Sequence[str]]) -> AsyncIterator[int]:
    """Run a DNS server that maps these names to IPv4 addresses; yield its UDP port on 127.0.0.1."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(addresses), local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()
