"""Object keys: how they are written in events, and which of them a mapping is about.

A key is the file's path below the bucket as bytes, `/` between its parts: file names are bytes, and
not all of them are UTF-8.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, unquote_to_bytes


def encode_key(key: bytes) -> str:
    """`key` form-url-encoded as in events: space to `+`, `/` kept, the rest `%XX` (semantics
    8.1)."""
    return quote_plus(key, safe="/")


def decode_key(text: str) -> bytes:
    """What `encode_key` was given."""
    return unquote_to_bytes(text.replace("+", "%20"))


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """The keys a mapping is about: one of the prefixes and one of the suffixes; () takes all.

    Compared byte by byte with the decoded key, so case matters (semantics 8.1). Without
    `recursive` only files directly in the bucket count.
    """

    prefixes: tuple[bytes, ...] = ()
    suffixes: tuple[bytes, ...] = ()
    recursive: bool = True

    def matches(self, key: bytes) -> bool:
        """Whether the mapping is about `key`."""
        if not self.recursive and b"/" in key:
            return False
        if self.prefixes and not key.startswith(self.prefixes):
            return False
        return not self.suffixes or key.endswith(self.suffixes)

    def may_hold(self, directory: bytes) -> bool:
        """Whether a matching key can lie below `directory` (ends in `/`; b"" is the bucket)."""
        if not directory:
            return True
        if not self.recursive:
            return False
        return not self.prefixes or any(
            directory.startswith(prefix) or prefix.startswith(directory) for prefix in self.prefixes
        )

    def text(self) -> str:
        """This filter as a short text that `parse_filter` reads; equal filters, equal texts."""
        prefixes, suffixes = ([encode_key(p) for p in ps] for ps in (self.prefixes, self.suffixes))
        return json.dumps([prefixes, suffixes, self.recursive], separators=(",", ":"))


def parse_filter(text: str) -> KeyFilter:
    """The filter that `KeyFilter.text` wrote. Raises ValueError for any other text."""
    match json.loads(text):
        case [list(prefixes), list(suffixes), bool(recursive)]:
            return KeyFilter(_decoded(prefixes), _decoded(suffixes), recursive)
    raise ValueError(f"not a stored filter: {text[:80]!r}")


def _decoded(texts: list[Any]) -> tuple[bytes, ...]:
    return tuple(decode_key(str(text)) for text in texts)
