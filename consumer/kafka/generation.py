"""Which generation of the group our metadata speaks for.

librdkafka hands out `CGMDv2:` + int32 little-endian generation + group id + member id (each NUL-terminated) + a flag
and the instance id; the layout is read here alone and pinned by a test, since the broker accepts a generation of -1
without any check.
"""

import struct

_MAGIC = b"CGMDv2:"


def generation_of(metadata: bytes) -> int:
    """The generation id, -1 for no member. Raises ValueError for a layout that is not known."""
    if not metadata.startswith(_MAGIC) or len(metadata) < len(_MAGIC) + 4:
        raise ValueError(f"group metadata of an unknown layout: {metadata[:16]!r}")
    (generation,) = struct.unpack_from("<i", metadata, len(_MAGIC))
    return int(generation)
