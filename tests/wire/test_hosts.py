"""By which names a server may be asked (RFC 9110 §7.4)."""

from __future__ import annotations

import pytest

from wireloom.errors import Deny
from wireloom.wire.hosts import AllowedHosts

SITE = ("example.com", "*.Example.org", "192.0.2.7", "10.0.0.0/8", "[2001:db8::1]", "fd00::/8", "name.example.")


def passes(allowed: AllowedHosts, *hosts: str) -> bool:
    try:
        allowed.check([(b"accept", b"*/*"), *((b"host", host.encode("latin-1")) for host in hosts)])
    except Deny as deny:
        assert deny.status == 421
        assert "allowed_hosts" in deny.body["message"]
        return False
    return True


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("example.com", True),
        ("EXAMPLE.com", True),
        ("example.com:8000", True),
        ("example.com.", True),
        ("example.com.:8000", True),
        ("name.example", True),
        ("a.example.org", True),
        ("a.b.example.org:1", True),
        ("192.0.2.7", True),
        ("192.0.2.7:8000", True),
        ("10.250.1.2", True),
        ("[2001:db8::1]:8000", True),
        ("[2001:DB8:0::1]", True),
        ("[fd00::5]", True),
        ("evil.example", False),
        ("www.example.com", False),
        ("notexample.com", False),
        ("example.com.evil.example", False),
        ("example.org", False),
        ("aexample.org", False),
        (".example.org", False),
        ("192.0.2.8", False),
        ("11.0.0.1", False),
        ("10.0.0.1.evil.example", False),
        ("[2001:db8::2]", False),
        ("[::]", False),
        ("[10.0.0.1.1]", False),
        # what cannot be read is not let in: browsers resolve names with such characters, too
        ("", False),
        (":8000", False),
        ("*.example.org", False),
        ("a!b.example.org", False),
        ("a b", False),
        ("example.com,evil.example", False),
        ("example.com@evil.example", False),
        ("example.com/", False),
        ("example.com:port", False),
        ("exämple.com", False),
        ("example.com..", False),
        ("2001:db8::1", False),
    ],
)
def test_names_addresses_and_what_is_neither(host: str, expected: bool) -> None:
    assert passes(AllowedHosts(SITE), host) is expected


def test_of_several_hosts_each_has_to_be_one() -> None:
    allowed = AllowedHosts(SITE)
    assert passes(allowed, "example.com", "a.example.org")
    assert not passes(allowed, "example.com", "evil.example")
    assert not passes(allowed, "evil.example", "example.com")


def test_a_request_without_a_host_passes() -> None:
    assert passes(AllowedHosts(SITE))


@pytest.mark.parametrize("patterns", [(), ("*",), ("example.com", "*")])
def test_without_a_list_and_with_a_star_any_host_passes(patterns: tuple[str, ...]) -> None:
    allowed = AllowedHosts(patterns)
    assert all(passes(allowed, host) for host in ("evil.example", "", "a b", "192.0.2.1"))


def test_the_refusal_names_the_host_where_it_can_be_read() -> None:
    for host, named in (("Evil.example:80", "evil.example is not"), ("<script>", "This Host is not")):
        with pytest.raises(Deny) as caught:
            AllowedHosts(SITE).check([(b"host", host.encode())])
        assert caught.value.body["message"].startswith(named)
        assert "script" not in str(caught.value.body)
