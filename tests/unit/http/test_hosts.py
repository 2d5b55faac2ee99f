from __future__ import annotations

import pytest

from eventmesh.http.hosts import HostGuard, guard_for, is_host


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("localhost.:1", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("api.localhost", True),
        ("dev.test", True),
        ("a.example.com", True),
        ("example.com", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("notlocalhost", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.2", False),
        ("localhost:8080@evil", False),
        ("localhost:", False),
        ("localhost:123456", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback_answers_to_its_own_names(host: str | None, allowed: bool) -> None:
    guard = guard_for(["127.0.0.1", "::1"], ["dev.test", "*.example.com"])
    assert guard.allows(host) is allowed
    assert guard.allows(host) is allowed


def test_loopback_answers_to_its_bound_address() -> None:
    assert guard_for(["127.0.0.9"], []).allows("127.0.0.9:80") is True


def test_elsewhere_only_configured_names_count() -> None:
    assert guard_for(["0.0.0.0"], []).allows("anything") is True
    assert guard_for(["0.0.0.0"], ["a.test"]).allows("b.test") is False
    assert guard_for(["fe80::1%eth0"], ["a.test"]).allows("a.test") is True
    assert guard_for(["127.0.0.1", "10.0.0.1"], []).allows("anything") is True


def test_star_allows_all() -> None:
    assert guard_for(["127.0.0.1"], ["*"]).allows("evil.example") is True


def test_accepted_hosts_are_remembered_within_bounds() -> None:
    guard = HostGuard(["*.test"])
    assert all(guard.allows(f"{n}.test") for n in range(1000))
    assert len(guard._accepted) == 64


@pytest.mark.parametrize("value", ["a b", "a/b", "a,b", "[::1", "a:b", "user@a", "a\tb"])
def test_malformed_hosts(value: str) -> None:
    assert is_host(value) is False
