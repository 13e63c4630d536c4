"""Take comments and application data out of a JPEG or JPEG 2000 stream; its pixels stay."""

from __future__ import annotations

_JPEG, _JPEG_2000 = b"\xff\xd8", b"\xff\x4f"
_SCAN, _TILE = 0xDA, 0x90
_COMMENT, _COMMENT_2000 = 0xFE, 0x64
_JFIF, _ADOBE = 0xE0, 0xEE
_JFIF_BYTES = 14
"""Of its segment with the length and without a thumbnail, less the two of the marker."""


def without_comments(data: bytes) -> bytes:
    r"""The same picture without text: segments before the first scan or tile that hold no pixels.

    JFIF and Adobe segments say how colours are coded and stay, without thumbnail or more. A stream
    that is neither, or damaged, is given back as it is.

    >>> without_comments(b"\xff\xd8\xff\xfe\x00\x06name\xff\xda\x00\x02...")
    b'\xff\xd8\xff\xda\x00\x02...'
    """
    start = data[:2]
    if start not in (_JPEG, _JPEG_2000):
        return data
    kept, at = [start], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xD9, _SCAN, _TILE) or end > len(data) or end < at + 4:
            break
        kept.append(_segment(data[at:end], marker, start == _JPEG))
        at = end
    return b"".join(kept) + data[at:]


def _segment(segment: bytes, marker: int, is_jpeg: bool) -> bytes:
    if not is_jpeg:
        return b"" if marker == _COMMENT_2000 else segment
    if marker == _JFIF and segment[4:9] == b"JFIF\0" and len(segment) >= 2 + _JFIF_BYTES + 2:
        plain = segment[4:16] + b"\0\0"  # no thumbnail
        return segment[:2] + (len(plain) + 2).to_bytes(2, "big") + plain
    if marker == _ADOBE and segment[4:9] == b"Adobe":
        return segment[:2] + b"\x00\x0e" + segment[4:16]
    return b"" if marker == _COMMENT or 0xE0 <= marker <= 0xEF else segment
