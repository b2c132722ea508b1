"""Who is who: addresses behind proxies, and sessions that count only while their page is open."""

import pytest

from playground.ui.visitors import OpenPages, Visitor, address_of


@pytest.mark.parametrize(
    ("peer", "forwarded", "is_space", "expected"),
    [
        ("203.0.113.9", "", False, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", False, "203.0.113.9"),  # a caller writes what it likes
        ("10.0.0.7", "6.6.6.6, 8.8.8.8", True, "8.8.8.8"),  # the last was noted by the platform
        ("10.0.0.7", "6.6.6.6, 8.8.8.8, 10.1.2.3", True, "8.8.8.8"),
        ("10.0.0.7", "nonsense", True, "10.0.0.7"),
        ("::ffff:8.8.4.4", "", False, "8.8.4.4"),
        ("2a00:1450:4001:82f::200e", "", False, "2a00:1450:4001:82f::/64"),
        (None, "", False, "unknown"),
    ],
)
def test_the_address_is_the_one_that_the_caller_cannot_choose(
    peer: str | None, forwarded: str, is_space: bool, expected: str
) -> None:
    assert address_of(peer, {"x-forwarded-for": forwarded}, is_space=is_space) == expected


def test_a_session_counts_while_its_page_is_open() -> None:
    pages = OpenPages()
    assert pages.visitor("a", "made-up") == Visitor("a")
    with pages.held("ann"), pages.held("ann"):
        assert pages.visitor("a", "ann") == Visitor("a", "ann")
    assert pages.visitor("a", "ann") == Visitor("a")
    assert "ann" not in pages
