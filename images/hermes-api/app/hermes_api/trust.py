"""The three trust tiers.

| tier | an agent of it runs |
| --- | --- |
| internal | on the host, with the Docker socket |
| trusted | in a container on the host |
| untrusted | on a remote node |

A task states the least trust that it needs, and goes to agents of that tier or a higher one. The order is that of the type
`trust` in the database, where the comparison is made.
"""

from __future__ import annotations

from enum import Enum


class Trust(str, Enum):
    UNTRUSTED = "untrusted"
    TRUSTED = "trusted"
    INTERNAL = "internal"
