"""The frames' words of refusal: those of RabbitMQ, which are Erlang's for bytes and tuples."""
# ruff: noqa: E501

import pytest

from mqlab.broker.embedded import frames

# Printed by Erlang 25: io_lib:format("type ~tp, ~ts octets = ~tp: ~tp", ...).
PRINTED = [
    (
        1,
        b"\x0b\xcd\xec%\x00J\x82\xa4v,^\xc8\xea\x97\xe8f.",
        ("invalid_frame_end_marker", 235),
        "type 1, first 16 octets = <<11,205,236,37,0,74,130,164,118,44,94,200,234,151,\n                            232,102>>: {invalid_frame_end_marker,235}",
    ),
    (
        249,
        b'"\n\x1bA\x1b\t\x1b\xa2\xa2\t\tAA\\\\\xa2.',
        ("unknown_frame",),
        'type 249, first 16 octets = <<"\\"\\n\\eA\\e\\t\\e¢¢\\t\\tAA\\\\\\\\¢">>: unknown_frame',
    ),
    (
        249,
        b'"\t\t\x1b\t\x1b\n\xff\xff\n\xa2\t"\x1b"\x1b.',
        ("invalid_frame_end_marker", 44),
        'type 249, first 16 octets = <<"\\"\\t\\t\\e\\t\\e\\nÿÿ\\n¢\\t\\"\\e\\"\\e">>: {invalid_frame_end_marker,\n                                                                  44}',
    ),
    (
        12,
        b"Y\x056\x0f(\x8dZ\x9c6I\xa3!\xc4\x05Hz.",
        ("frame_too_large", 585840198, 131064),
        "type 12, first 16 octets = <<89,5,54,15,40,141,90,156,54,73,163,33,196,5,72,122>>: {frame_too_large,\n                                                                                    585840198,\n                                                                                    131064}",
    ),
    (
        249,
        b"f\xe8(\x90\x8f$\x94\xe2.\x98\x94'\n\xe1\x8ae.",
        ("frame_too_large", 497472121, 131064),
        "type 249, first 16 octets = <<102,232,40,144,143,36,148,226,46,152,148,39,10,\n                              225,138,101>>: {frame_too_large,497472121,\n                                              131064}",
    ),
    (
        1,
        b"K\xa5\xd8>%\x00\x08\x1b\x1bH5U\xabr\xd4\xe2.",
        ("unknown_frame",),
        "type 1, first 16 octets = <<75,165,216,62,37,0,8,27,27,72,53,85,171,114,212,226>>: unknown_frame",
    ),
    (8, "Ünal".encode(), ("unknown_frame",), 'type 8, all octets = <<"Ünal"/utf8>>: unknown_frame'),
]


@pytest.mark.parametrize(("kind", "payload", "why", "text"), PRINTED)
def test_a_refusal_is_printed_as_by_erlang(kind: int, payload: bytes, why: tuple[object, ...], text: str) -> None:
    assert str(frames.refused(kind, payload, *why)) == f"FRAME_ERROR - {text}"
