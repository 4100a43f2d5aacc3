"""How clients are shared out to groups."""

from hypothesis import given
from hypothesis import strategies as st

from fedpipe.algorithms.groups import balance

COUNTS = st.dictionaries(
    st.text(min_size=1, max_size=3), st.integers(0, 500), min_size=1, max_size=30
)


def test_the_largest_first_to_the_emptiest_group() -> None:
    # 400 -> group 1 (400); 21 -> group 2 (21); 20 -> group 2 (41); 19 -> group 2 (60); 1 -> group 2 (61).
    assert balance({"a": 1, "b": 19, "c": 20, "d": 21, "e": 400}, 2) == [
        ["e"],
        ["d", "c", "b", "a"],
    ]


def test_fewer_clients_than_groups_leave_groups_empty() -> None:
    assert balance({"a": 3}, 3) == [["a"], [], []]


@given(COUNTS, st.integers(1, 5))
def test_every_client_is_in_one_group_whatever_the_order(
    counts: dict[str, int], groups: int
) -> None:
    members = balance(counts, groups)
    assert sorted(client_id for group in members for client_id in group) == sorted(counts)
    assert len(members) == groups
    assert members == balance(dict(reversed(counts.items())), groups)


@given(COUNTS, st.integers(1, 5))
def test_no_group_has_more_than_the_share_and_one_client(
    counts: dict[str, int], groups: int
) -> None:
    loads = [sum(counts[client_id] for client_id in group) for group in balance(counts, groups)]
    assert max(loads) <= sum(counts.values()) / groups + max(counts.values())
