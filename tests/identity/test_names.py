"""Which names and passwords there may be."""

from __future__ import annotations

import unicodedata

import pytest

from wireloom.identity.names import fold, require_name, require_password
from wireloom.identity.refusal import FieldInvalid


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("username", "Bob", "Bob"),
        ("username", " \tBob\n", "Bob"),
        ("username", "Jürgen von Öd", "Jürgen von Öd"),
        ("username", "Ju\u0308rgen", "Jürgen"),
        ("username", "x" * 150, "x" * 150),
        ("username", "李小龍", "李小龍"),
        ("username", "a'; DROP TABLE wireloom_users; --", "a'; DROP TABLE wireloom_users; --"),
        ("email", " Bob@Example.org ", "Bob@Example.org"),
        ("email", "a@b", "a@b"),
    ],
)
def test_good_names(kind: str, value: str, kept: str) -> None:
    assert require_name(kind, value) == kept


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("username", ""),
        ("username", " \u3000 "),
        ("username", "x" * 151),
        ("username", "a\0b"),
        ("username", "a\nb"),
        ("username", "a\x7fb"),
        ("username", "bob\u200b"),
        ("username", "\u202ebob"),
        ("username", "bob\ud800"),
        ("username", "a\u2028b"),
        ("username", "\ufdfa" * 100),
        ("email", ""),
        ("email", "bob"),
        ("email", "a@b@c"),
        ("email", "@b"),
        ("email", "a@"),
        ("email", "a@.b"),
        ("email", "a b@c"),
        ("email", "x" * 250 + "@b.de"),
        ("phone", "123"),
    ],
)
def test_absurd_names(kind: str, value: str) -> None:
    with pytest.raises(FieldInvalid) as caught:
        require_name(kind, value)
    assert caught.value.field == ("type" if kind == "phone" else kind)
    assert not value or value not in caught.value.message


@pytest.mark.parametrize(("one", "other"), [("STRASSE", "straße"), ("Ⅷ", "viii"), ("ﬁn", "FIN"), ("Å", "A\u030a")])
def test_names_that_look_alike_fold_alike(one: str, other: str) -> None:
    assert fold(one) == fold(other) == fold(fold(one))


@pytest.mark.parametrize(
    ("password", "new", "fits"),
    [
        ("12345678", True, True),
        ("1234567", True, False),
        ("1234567", False, True),
        ("", False, False),
        ("é" * 512, True, True),
        ("é" * 513, True, False),
        ("é" * 513, False, False),
        (" " * 8, True, True),
        ("12345678\ud800", False, False),
    ],
)
def test_lengths_of_passwords(password: str, new: bool, fits: bool) -> None:
    if fits:
        assert require_password(password, new=new) == password
        return
    with pytest.raises(FieldInvalid) as caught:
        require_password(password, "old_password", new=new)
    assert caught.value.field == "old_password"


def test_nothing_is_composed_that_is_too_long_to_be_a_name_or_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Composing takes time by the square of the length of marks such as these: 160 kB of them take seconds."""
    marks = "a" + "\u0300\u0316" * 80_000
    composed: list[int] = []
    real = unicodedata.normalize
    monkeypatch.setattr(unicodedata, "normalize", lambda form, text: (composed.append(len(text)), real(form, text))[1])
    assert fold(marks) == marks
    with pytest.raises(FieldInvalid, match="at most 150 characters"):
        require_name("username", marks)
    with pytest.raises(FieldInvalid, match="at most 1024 bytes"):
        require_password(marks, new=False)
    assert composed == []
