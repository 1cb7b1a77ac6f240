"""The running example: events that survive the way through bytes, and bytes that are none."""

import pytest

from mqlab import campus

EVENTS = [
    campus.SignUp(10, "José", "São Paulo"),
    campus.Subscribed(10, "Queues"),
    campus.Commented(10, "Queues", "¿Y si el broker se cae?"),
    campus.Notification(10, "Welcome!"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_from_its_bytes(event: campus.Event) -> None:
    assert campus.from_bytes(campus.to_bytes(event)) == event


def test_the_bytes_are_the_same_each_time_and_readable() -> None:
    expected = '{"city": "São Paulo", "event": "SignUp", "name": "José", "user": 10}'
    assert campus.to_bytes(EVENTS[0]).decode("utf-8") == expected


def test_sign_ups_are_always_the_same_people_with_numbers_of_their_own() -> None:
    many = campus.sign_ups(60)
    assert many[:3] == campus.sign_ups(3)
    assert many[3:5] == campus.sign_ups(2, first=4)
    assert [event.user for event in many] == list(range(1, 61))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\xff\xfe", "it is not JSON"),
        (str(EVENTS[0]).encode(), "it is not JSON"),
        (b"", "it is not JSON"),
        (b"3", 'it has no "event"'),
        (b'{"event": ["SignUp"]}', 'it has no "event"'),
        (b'{"event": "LunchBreak"}', 'it has no "event"'),
        (b'{"event": "SignUp", "user": 1}', "a SignUp has user, name, city"),
        (b'{"event": "SignUp", "user": 1, "name": "A", "city": "B", "age": 7}', "a SignUp has user, name, city"),
    ],
)
def test_bytes_that_are_no_event_are_refused_in_a_plain_sentence(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match="is not an event of Campus") as refused:
        campus.from_bytes(body)
    assert why in str(refused.value)
    assert "campus.to_bytes(event)" in str(refused.value)
