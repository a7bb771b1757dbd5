"""Network: what counts as one address where callers are counted by theirs."""

from __future__ import annotations

import ipaddress

__all__ = ["network_of"]

_IPV6_NETWORK_BITS = 64  # what one subscriber is given at least (RFC 6177 §2)


def network_of(address: str) -> str:
    """An address of IPv4, in IPv6's form too; of IPv6 its /64. What is no address stays as it is."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_NETWORK_BITS), strict=False))
