"""IP addresses as proxies and clients write them: with ports, brackets, quotes, scope ids, or not at all.

Whatever is counted, compared or recorded by address goes through `read_address` first, so that one client has one
address however the gateway in front of us writes it.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

# The longest honest form: a quoted, bracketed IPv6 address with a scope id and a port. Longer text is refused unread.
_MAX_TEXT = 100
_BRACKETED = re.compile(r"\[([^\]]*)\](?::[0-9]*)?", re.ASCII)
_WITH_PORT = re.compile(r"(.+):[0-9]*", re.ASCII)
_MAPPED = IPv6Network("::ffff:0:0/96")


def read_address(text: str) -> str:
    """Return the address in its one canonical form, IPv4 also where it came as IPv6; "" where it is none."""
    address = _find(text)
    return "" if address is None else str(address)


def read_network(text: str) -> str:
    """Return a network, or an address as a network of one, in canonical form. Raises ValueError."""
    written, slash, prefix = text.strip().partition("/")
    if not slash:
        address = _find(written)
        if address is None:
            raise ValueError(text)
        return str(ip_network(address))
    if "%" in written:
        raise ValueError(text)
    network = ip_network(f"{written}/{prefix}", strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        base = IPv4Address(int(network.network_address) & 0xFFFFFFFF)
        return str(IPv4Network((base, network.prefixlen - _MAPPED.prefixlen)))
    return str(network)


def forwarded_address(header: str, hops: int) -> str | None:
    """Return who the outermost of `hops` trusted proxies says that the client is; None where fewer have written.

    No quote joins two entries: a client's own stray quote must not swallow what the proxy appended.
    """
    entries = header.split(",")
    return read_address(entries[-hops]) if 0 < hops <= len(entries) and header.strip() else None


def _find(text: str) -> IPv4Address | IPv6Address | None:
    if len(text) > _MAX_TEXT:
        return None
    text = text.strip().strip('"').strip()
    if text[:4].lower() == "for=":
        text = text[4:].strip('"')
    if bracketed := _BRACKETED.fullmatch(text):
        return _parse(bracketed[1])
    with_port = _WITH_PORT.fullmatch(text)
    return _parse(text) or (_parse(with_port[1]) if with_port else None)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
