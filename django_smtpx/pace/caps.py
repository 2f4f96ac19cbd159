"""How much mail providers bear from one sender, as data.

Only what a provider has published, or what stands in the traffic shaping that
is published with a mail server: its makers' own, in part told by providers,
and its users'. About every other provider nothing is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

_KUMOMTA = "https://github.com/KumoCorp/kumomta/blob/main/assets/policy-extras/shaping.toml"
_KUMOMTA_COMMUNITY = "https://github.com/KumoCorp/kumomta/blob/main/assets/community/shaping.toml"
_YAHOO = "https://help.yahoo.com/kb/SLN3433.html"
_COMCAST = "https://postmaster.comcast.net/block-removal-request.html"


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that a host bears from one sender; None where nothing is documented.

    ``connections`` is how many may be open at once, ``messages`` how many may
    go over one of them.
    """

    connections: int | None = None
    messages: int | None = None


class Documented(NamedTuple):
    """What is documented of the mail servers whose names end with ``suffix``."""

    provider: str
    suffix: str
    connections: int | None
    messages: int | None
    source: str


DOCUMENTED = (
    Documented("Apple iCloud", ".icloud.com", 10, 5, _KUMOMTA),
    Documented("Barracuda", ".barracudanetworks.com", 10, 15, _KUMOMTA_COMMUNITY),
    Documented("Comcast", ".comcast.net", 25, None, _COMCAST),
    Documented("Comcast", ".comcast.net", 25, 1000, _KUMOMTA),
    Documented("GMX and WEB.DE", ".gmx.net", 4, 20, _KUMOMTA_COMMUNITY),
    Documented("GMX and WEB.DE", ".web.de", 4, 20, _KUMOMTA_COMMUNITY),
    Documented("Google", ".google.com", 5, 50, _KUMOMTA),
    Documented("Google", ".googlemail.com", 5, 50, _KUMOMTA),
    Documented("KPN", ".kpnmail.nl", 10, 10, _KUMOMTA_COMMUNITY),
    Documented("mail.com", ".mail.com", None, 100, _KUMOMTA),
    Documented("Microsoft 365", ".mail.protection.outlook.com", 5, 50, _KUMOMTA),
    Documented("Microsoft 365", ".mx.microsoft", 5, 50, _KUMOMTA),
    Documented("Microsoft Outlook.com", ".olc.protection.outlook.com", 5, 50, _KUMOMTA),
    Documented("Mimecast", ".mimecast.com", 10, 100, _KUMOMTA),
    Documented("Mimecast", ".mimecast.co.za", 10, 100, _KUMOMTA),
    Documented("Mimecast", ".mimecast-offshore.com", 10, 100, _KUMOMTA),
    Documented("NetEase", ".netease.com", 4, 7, _KUMOMTA_COMMUNITY),
    Documented("Netvigator", ".netvigator.com", 5, 10, _KUMOMTA_COMMUNITY),
    Documented("Orange", ".orange.fr", 2, 100, _KUMOMTA),
    Documented("QQ", ".qq.com", 4, 8, _KUMOMTA_COMMUNITY),
    Documented("Yahoo and AOL", ".yahoodns.net", None, 20, _YAHOO),
    Documented("Yahoo Japan", ".yahoo.co.jp", 2, 20, _KUMOMTA_COMMUNITY),
)
"""A suffix begins with a dot and stands for the hosts under a domain, not for the domain itself."""


def caps_for(host: str) -> Caps:
    """Return the strictest of what is documented about the mail server ``host`` (its own name)."""
    name = host.rstrip(".").lower()
    found = [known for known in DOCUMENTED if name.endswith(known.suffix)]
    return Caps(
        min((known.connections for known in found if known.connections is not None), default=None),
        min((known.messages for known in found if known.messages is not None), default=None),
    )
