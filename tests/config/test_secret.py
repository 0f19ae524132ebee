"""A secret shows itself only when asked by name."""

import msgspec
import pytest

from gateway.config.secret import Secret


def test_a_secret_has_no_text_form() -> None:
    secret = Secret(b"hush")

    assert secret.reveal() == b"hush"
    assert "hush" not in f"{secret} {secret!r} {[secret]}"
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)


def test_a_secret_matches_what_is_the_same() -> None:
    assert Secret(b"hush").matches(b"hush")
    assert not Secret(b"hush").matches(b"hus")
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != b"a"
    assert len({Secret(b"a"), Secret(b"a")}) == 1
