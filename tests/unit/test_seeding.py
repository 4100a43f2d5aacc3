"""Named draws: same names, same draw; any name changed, another."""

import hashlib

import pytest

from fedpipe.seeding import derive_seed, generator


def test_known_answer() -> None:
    # The names are hashed as "int:1:1" and "str:6:cohort"; the first 8 bytes, big-endian, without the top bit.
    digest = hashlib.sha256(b"int:1:1str:6:cohort").digest()
    assert derive_seed(1, "cohort") == int.from_bytes(digest[:8], "big") >> 1


def test_same_names_same_draw() -> None:
    assert generator(1, "cohort", 3).integers(1 << 60) == generator(1, "cohort", 3).integers(
        1 << 60
    )


@pytest.mark.parametrize(
    "other",
    [(2, "cohort", 3), (1, "shuffle", 3), (1, "cohort", 4), (1, "cohort", "3"), (1, "coh", "ort3")],
)
def test_any_change_changes_the_draw(other: tuple[int | str, ...]) -> None:
    assert derive_seed(*other) != derive_seed(1, "cohort", 3)  # type: ignore[arg-type]


def test_fits_a_signed_64_bit_seed() -> None:
    assert all(0 <= derive_seed(seed, "x") < 1 << 63 for seed in range(200))
