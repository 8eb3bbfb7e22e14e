"""Signed requests, by AWS's own example."""

from __future__ import annotations

from datetime import UTC, datetime

from catalog.stores.s3_requests import Keys, error_code, signed


def test_the_signature_is_that_of_the_example_in_the_documentation() -> None:
    # docs.aws.amazon.com, "Signature Calculations for the Authorization Header", example "Get Bucket (List Objects)".
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    url = "https://examplebucket.s3.amazonaws.com/"
    headers = signed("GET", url, "max-keys=2&prefix=J", "us-east-1", keys, datetime(2013, 5, 24, tzinfo=UTC))
    signature = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    assert headers["Authorization"].endswith(f"Signature={signature}")
    assert "wJalr" not in repr(keys) + repr(headers)


def test_the_word_for_an_error_is_found_and_nothing_else() -> None:
    assert error_code(b"<Error><Code>NoSuchBucket</Code></Error>") == "NoSuchBucket"
    assert error_code(b"<Code>a b</Code>") == error_code(b"") == ""
