"""The signing window: the same URL from every replica for a while."""

from hypothesis import given
from hypothesis import strategies as st

from tests.presign.test_signer import keys, signer
from tests.tier import NOW, Clock, record


class TestTheSigningWindow:
    """Replicas and restarts agree without talking to each other."""

    @given(at=st.integers(10**9, 2 * 10**9), later=st.integers(0, 299), key=keys)
    def test_the_url_is_the_same_within_a_window_and_lives_long_enough_in_it(
        self, at: int, later: int, key: str
    ) -> None:
        early, other = signer(Clock(at)), signer(Clock(at + later))
        first, second = early.sign(record(key=key)), other.sign(record(key=key))
        assert first.url == second.url or second.signed_at == first.signed_at + 300
        for presigned, now in ((first, at), (second, at + later)):
            assert now - 300 < presigned.signed_at <= now
            assert presigned.expires_at == presigned.signed_at + 3600

    def test_windows_of_different_keys_start_at_different_times(self) -> None:
        made = signer(Clock(NOW))
        starts = {made.sign(record(key=f"{number}.png")).signed_at for number in range(300)}
        assert len(starts) > 100

    def test_a_fresh_url_is_signed_now(self) -> None:
        assert signer(Clock(NOW)).sign(record(), fresh=True).signed_at == NOW

    def test_without_a_window_every_second_is_its_own(self) -> None:
        assert signer(Clock(NOW), window=0).sign(record()).signed_at == NOW


def test_images_signed_in_one_window_share_their_times(clock: Clock) -> None:
    first, second = (signer(clock).sign_image(record(), read_at=int(str(NOW))) for _ in range(2))
    assert first.presigned.signed_at is second.presigned.signed_at
    assert first.presigned.expires_at is second.presigned.expires_at
    assert first.read_at is second.read_at
